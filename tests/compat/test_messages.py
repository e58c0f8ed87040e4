"""All messages that clients can see, in one file that can be read: tests/data/messages.txt.

`MUYBRIDGE_WRITE_MESSAGES=1 python -m pytest tests/compat/test_messages.py` writes it.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from support.messages import check_section, literals
from support.servers import Running

from adapters.base import Media
from adapters.catalog.model_config import ModelConfig
from compat import completions, configurations, embeddings, files, model_files, scenes
from compat.audio import languages, speech, transcriptions
from compat.chat import request as chat
from compat.decisions import request as decisions
from compat.errors import wire_error
from compat.images import edits, generations
from compat.responses import conversation, queries
from compat.responses import request as responses
from compat.validation import explain
from compat.videos import continuations, create, sequences
from compat.wire import flatten, gather_columns

Body = dict[str, Any]
PIXEL = "data:image/png;base64," + base64.b64encode(b"x").decode()
IMAGE = Media("image/png", b"x")
VIDEO = create.parse({"prompt": "x", "seconds": 1}, None, {"width": 64, "height": 64})

CHAT: Body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
TOOL: Body = {"type": "function", "function": {"name": "f"}}
FLAT_TOOL: Body = {"type": "function", "name": "f"}
CALL: Body = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT: Body = {"type": "function_call_output", "call_id": "c", "output": "x"}
PREDICATE: Body = {"type": "predicate", "instructions": "x"}


def said(content: object, role: str = "user", **fields: object) -> Body:
    return CHAT | {"messages": [CHAT["messages"][0], {"role": role, "content": content, **fields}]}


def parts(*content: object, role: str = "user") -> Body:
    return said([{"type": "text", "text": "x"}, *content], role)


def inputs(*items: object) -> Body:
    return {"model": "m", "input": [{"role": "user", "content": "x"}, *items]}


def asked(**fields: object) -> Body:
    return {"model": "m", "input": "x", "questions": [PREDICATE, PREDICATE | fields]}


def sequence(*scenes: object, **fields: object) -> Body:
    return {"scenes": [{"scene_number": 0, "description": "x"}, *scenes], **fields}


def config(body: Body) -> None:
    try:
        ModelConfig.model_validate(configurations.parse(body))
    except ValidationError as error:
        raise explain(error, ModelConfig) from None


def respond(body: Body) -> None:
    call = responses.parse(body)
    conversation.conversation(call.instructions, call.items)


def edit_image(body: Body) -> None:
    fields = dict(body)
    edits.parse_edit(fields, edits.take_images(fields, {}), {})


def vary_image(body: Body) -> None:
    fields = dict(body)
    edits.parse_variation(fields, edits.take_images(fields, {}), {})


SPEECH: Body = {"model": "m", "input": "x", "voice": "v"}
EMBED: Body = {"model": "m"}
SCENE: Body = {"model": "m", "description": "x", "image": PIXEL}
SET: Body = {"model": "m", "images": [PIXEL, PIXEL]}
EDIT: Body = {"prompt": "x", "image": PIXEL}

REQUESTS: dict[str, tuple[Callable[[Any], object], list[Body]]] = {
    "POST /v1/chat/completions": (
        chat.parse,
        [
            {},
            {"model": 5, "messages": CHAT["messages"]},
            CHAT | {"model": "m" * 300},
            CHAT | {"colour": "red"},
            CHAT | {"messages": []},
            CHAT | {"messages": "x"},
            CHAT | {"messages": [5]},
            CHAT | {"messages": [{"content": "x"}]},
            said("x", "alien"),
            said(None),
            said(5),
            said({"type": "text", "text": "x"}),
            said("x", function_call={}),
            said("x", colour="red"),
            parts(5),
            parts({"text": "x"}),
            parts({"type": "alien"}),
            parts({"type": "text"}),
            parts({"type": "text", "text": 5}),
            parts({"type": "text", "text": "x", "colour": "red"}),
            parts({"type": "image_url"}),
            parts({"type": "image_url", "image_url": PIXEL}),
            parts({"type": "image_url", "image_url": {"url": 5}}),
            parts({"type": "image_url", "image_url": {"image_url": PIXEL}}),
            parts({"type": "image_url", "image_url": {"url": PIXEL, "detail": "huge"}}),
            parts({"type": "image_url", "image_url": {"url": "ftp://example.com/x.png"}}),
            parts({"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}}),
            parts({"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}),
            parts({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}),
            parts({"type": "image_url", "image_url": {"url": PIXEL}}, role="system"),
            parts({"type": "file", "file": {"file_id": "../x"}}),
            parts({"type": "file", "file": {}}),
            CHAT | {"stop": 5},
            CHAT | {"stop": ["a", 5]},
            CHAT | {"stop": ["a"] * 65},
            CHAT | {"stop": ["a", ""]},
            CHAT | {"stop": ""},
            CHAT | {"temperature": 3},
            CHAT | {"temperature": -1},
            CHAT | {"temperature": "warm"},
            CHAT | {"temperature": float("nan")},
            CHAT | {"seed": 1.5},
            CHAT | {"seed": 2**63},
            CHAT | {"n": 17},
            CHAT | {"stream": "yes"},
            CHAT | {"stream_options": {}},
            CHAT | {"max_tokens": 0},
            CHAT | {"logprobs": 5},
            CHAT | {"top_logprobs": 5},
            CHAT | {"top_logprobs": 21, "logprobs": True},
            CHAT | {"logit_bias": {"x": 1}},
            CHAT | {"logit_bias": {"1": 200}},
            CHAT | {"logit_bias": dict.fromkeys(map(str, range(2000)), 0)},
            CHAT | {"modalities": ["audio"]},
            CHAT | {"reasoning_effort": "immense"},
            CHAT | {"response_format": "json"},
            CHAT | {"response_format": {"type": "xml"}},
            CHAT | {"response_format": {"type": "json_schema"}},
            CHAT | {"response_format": {"type": "text", "json_schema": {"name": "x", "schema": {}}}},
            CHAT | {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
            CHAT | {"tools": [{"type": "function"}]},
            CHAT | {"tools": [TOOL, TOOL]},
            CHAT | {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            CHAT | {"tools": [{"type": "function", "function": {"name": "f", "function": 1}}]},
            CHAT | {"tools": [TOOL], "tool_choice": "f"},
            CHAT | {"tools": [TOOL], "tool_choice": 5},
            CHAT | {"tools": [TOOL], "tool_choice": {"type": "function"}},
            CHAT | {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            CHAT | {"tool_choice": "required"},
            CHAT | {"tools": [{"type": "web_search"}], "tool_choice": "required"},
            CHAT | {"tools": [{"type": "custom", "custom": {"name": "f", "format": {"type": "ebnf"}}}]},
            CHAT | {"function_call": {"name": "f"}},
            CHAT | {"functions": [TOOL["function"]], "function_call": {"name": "g"}},
            CHAT | {"functions": [TOOL["function"]], "tools": [TOOL]},
            CHAT | {"audio": {"voice": "alloy"}},
            CHAT | {"max_tokens": 1, "max_completion_tokens": 2},
            CHAT | {"top_k": -2},
            CHAT | {"chat_template_kwargs": {"x": {}}},
        ],
    ),
    "POST /v1/completions": (
        completions.parse,
        [
            {"model": "m"},
            {"model": "m", "prompt": 5},
            {"model": "m", "prompt": []},
            {"model": "m", "prompt": [0.5]},
            {"model": "m", "prompt": [-1]},
            {"model": "m", "prompt": ["x", 5]},
            {"model": "m", "prompt": [[1], [2, "x"]]},
            {"model": "m", "prompt": ["x"] * 65},
            {"model": "m", "prompt": "x", "suffix": "x", "echo": True},
            {"model": "m", "prompt": "x", "best_of": 2},
            {"model": "m", "prompt": "x", "max_tokens": 0},
            {"model": "m", "prompt": ["x"] * 64, "n": 16},
        ],
    ),
    "POST /v1/responses": (
        respond,
        [
            {"model": "m"},
            {"model": "m", "input": 5},
            inputs(5),
            inputs({"role": "user", "content": 5}),
            inputs({"role": "user", "content": [5]}),
            inputs({"role": "user", "content": [{"type": "text", "text": "x"}]}),
            inputs({"role": "user", "content": [{"type": "output_text", "text": "x"}]}),
            inputs({"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_image"}]}),
            inputs({"role": "user", "content": [{"type": "input_image", "image_url": 5}]}),
            inputs({"role": "user", "content": [{"type": "input_image", "image_url": "x.png"}]}),
            inputs({"role": "system", "content": [{"type": "input_image", "image_url": PIXEL}]}),
            inputs() | {"background": True, "store": False},
            inputs() | {"stream_options": {}},
            inputs() | {"metadata": {"x" * 65: "x"}},
            inputs() | {"metadata": {"x": 5}},
            inputs() | {"metadata": dict.fromkeys(map(str, range(17)), "x")},
            inputs() | {"text": {"format": {"type": "xml"}}},
            inputs() | {"text": {"format": {"type": "json_schema", "name": "x"}}},
            inputs() | {"tools": [FLAT_TOOL, FLAT_TOOL]},
            inputs() | {"tool_choice": "required"},
            inputs() | {"tools": [FLAT_TOOL], "tool_choice": "f"},
            inputs() | {"tools": [FLAT_TOOL], "tool_choice": {"type": "file_search"}},
            inputs() | {"tools": [FLAT_TOOL], "tool_choice": {"type": "function", "name": "g"}},
            inputs()
            | {
                "tools": [FLAT_TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [FLAT_TOOL, {"type": "function", "name": "g"}],
                },
            },
            inputs() | {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
            inputs() | {"include": ["everything"]},
            inputs({"type": "item_reference", "id": "a"}, {"type": "item_reference", "id": "a"}),
            inputs({"type": "input_text", "text": "x"}),
            inputs() | {"conversation": "conv_1"},
        ],
    ),
    "GET /v1/responses/{response_id}": (
        lambda query: queries.check_query(**query),
        [
            {"include": ["x"], "stream": False, "starting_after": None, "obfuscation": False},
            {"include": None, "stream": False, "starting_after": 5, "obfuscation": False},
            {"include": None, "stream": True, "starting_after": None, "obfuscation": True},
        ],
    ),
    "POST /v1/embeddings": (
        embeddings.parse,
        [
            EMBED,
            EMBED | {"input": 5},
            EMBED | {"input": ""},
            EMBED | {"input": []},
            EMBED | {"input": ["x", ""]},
            EMBED | {"input": ["x", 5]},
            EMBED | {"input": [1, "x"]},
            EMBED | {"input": [[1], []]},
            EMBED | {"input": [[1], [2, "x"]]},
            EMBED | {"input": [1, -1]},
            EMBED | {"input": [0.5]},
            EMBED | {"input": ["x"] * 2049},
            EMBED | {"input": "x" * 2_000_001},
            EMBED | {"input": "x", "dimensions": 0},
            EMBED | {"input": "x", "encoding_format": "hex"},
        ],
    ),
    "POST /v1/decisions": (
        decisions.parse,
        [
            {"model": "m", "input": "x"},
            {"model": "m", "input": "x", "questions": []},
            {"model": "m", "input": [], "questions": [PREDICATE]},
            {"model": "m", "input": [{"role": "tool", "content": "x"}], "questions": [PREDICATE]},
            {"model": "m", "input": [{"type": "alien"}], "questions": [PREDICATE]},
            {"model": "m", "input": [{"role": "user", "content": [{"type": "alien"}]}], "questions": [PREDICATE]},
            {"model": "m", "input": [CALL, CALL], "questions": [PREDICATE]},
            {"model": "m", "input": [OUTPUT], "questions": [PREDICATE]},
            asked(type="alien"),
            asked(instructions=" "),
            asked(instructions=5),
            asked(instructions=[{"type": "input_text"}]),
            asked(instructions=[{"type": "input_image", "image_url": "x.png"}]),
            asked(type="choice", choices=[{"value": "a"}]),
            asked(type="choice", choices=[{"value": "a"}, {"value": 5}]),
            asked(type="choice", choices=[{"value": "a"}, {"value": "a"}]),
            asked(type="choice", choices=[{"value": "a"}, {"value": " "}]),
            asked(type="score", levels=[{"label": "a"}, {"label": "a"}]),
            asked(type="score", levels=[{"label": "a"}, {"label": " "}]),
            asked() | {"prompt_cache_options": {"mode": "explicit"}},
        ],
    ),
    "POST /v1/scenes/validations": (
        scenes.parse,
        [
            {"model": "m", "description": "x"},
            {"model": "m", "description": "", "image": PIXEL},
            SCENE | {"image": 5},
            SCENE | {"image": {}},
            SCENE | {"image": {"image_url": 5}},
            SCENE | {"image": {"image_url": {"href": PIXEL}}},
            SCENE | {"image": {"image_url": {"url": "x.png"}}},
            SCENE | {"threshold": 2},
        ],
    ),
    "POST /v1/scenes/consistency": (
        scenes.parse_consistency,
        [
            {"model": "m"},
            {"model": "m", "images": [PIXEL]},
            {"model": "m", "images": [PIXEL, 5]},
            {"model": "m", "images": [PIXEL, {"image_url": "x.png"}]},
            {"model": "m", "images": "["},
            SET | {"aspects": ["a", "a"]},
            SET | {"aspects": ["a", " "]},
            SET | {"aspects": []},
        ],
    ),
    "POST /v1/audio/speech": (
        speech.parse,
        [
            {"model": "m", "voice": "v"},
            SPEECH | {"input": ""},
            SPEECH | {"input": " "},
            SPEECH | {"input": "x" * 4097},
            SPEECH | {"voice": 5},
            SPEECH | {"voice": {}},
            SPEECH | {"voice": {"id": ""}},
            SPEECH | {"response_format": "au"},
            SPEECH | {"speed": 9},
        ],
    ),
    "POST /v1/audio/transcriptions": (
        lambda fields: transcriptions.parse({"model": ["m"]} | fields, Media("audio/wav", b"x")),
        [
            {"model": []},
            {"model": ["a", "b"]},
            {"colour": ["red"]},
            {"known_speaker_names[]": ["x"]},
            {"response_format": ["xml"]},
            {"response_format": ["diarized_json"]},
            {"response_format": ["srt"], "stream": ["true"]},
            {"stream": ["perhaps"]},
            {"temperature": ["warm"]},
            {"temperature[]": ["0", "warm"]},
            {"temperature": ["2"]},
            {"beam_size": ["x"]},
            {"beam_size": ["0"]},
            {"timestamp_granularities[]": ["line"]},
            {"timestamp_granularities[]": ["word"]},
            {"include[]": ["logprobs"], "response_format": ["text"]},
            {"max_words_per_line": ["5"]},
            {"language": ["en"], "languages[]": ["de"]},
            {"language": ["x" * 33]},
            {"chunking_strategy": ["x"]},
            {"chunking_strategy[type]": ["x"]},
            {"chunking_strategy[threshold]": ["0.5"]},
            {"chunking_strategy": ["auto"], "chunking_strategy[type]": ["server_vad"]},
            {"chunking_strategy": ["auto"], "vad_filter": ["false"]},
        ],
    ),
    "POST /v1/audio/language_detections": (languages.parse, [{}, {"model": ["a", "b"]}, {"colour": ["red"]}]),
    "POST /v1/images/generations": (
        lambda body: (generations.model_of(body), generations.parse(body, {})),
        [
            {},
            {"prompt": ""},
            {"prompt": "x", "model": 5},
            {"prompt": "x", "n": 11},
            {"prompt": "x", "size": "huge"},
            {"prompt": "x", "size": "4096x4096"},
            {"prompt": "x", "size": "64x64", "width": 64},
            {"prompt": "x", "quality": "low", "num_inference_steps": 5},
            {"prompt": "x", "quality": "vivid"},
            {"prompt": "x", "seed": 2**32 - 1, "n": 2},
            {"prompt": "x", "partial_images": 1},
            {"prompt": "x", "stream": True, "response_format": "url"},
            {"prompt": "x", "output_compression": 50},
            {"prompt": "x", "background": "transparent"},
            {"prompt": "x", "lora": 5},
            {"prompt": "x", "lora": {"scale": 1}},
            {"prompt": "x", "lora": {"name": "a", "scale": 20}},
            {"prompt": "x", "lora": [{"name": "a"}, {"name": 5}]},
            {"prompt": "x", "lora": "{"},
            {"prompt": "x", "refiner": {"steps": 0}},
        ],
    ),
    "POST /v1/images/edits": (
        edit_image,
        [
            {"prompt": "x"},
            {"image": PIXEL},
            EDIT | {"image": 5},
            EDIT | {"image": [PIXEL, "x.png"]},
            EDIT | {"image": [PIXEL, PIXEL]},
            EDIT | {"image": {"url": PIXEL}},
            EDIT | {"image": {"image_url": "https://example.com/x.png"}},
            EDIT | {"image": {}},
            EDIT | {"image": {"file_id": 5}},
            EDIT | {"strength": 0},
            EDIT | {"strength": 0.5, "input_fidelity": "high"},
            EDIT | {"width": 64},
        ],
    ),
    "POST /v1/images/variations": (vary_image, [{"image": PIXEL, "mask": PIXEL}, {"image": PIXEL, "stream": True}]),
    "POST /v1/videos": (
        lambda body: create.parse(body, None, {}),
        [
            {},
            {"prompt": "x", "seconds": "long"},
            {"prompt": "x", "seconds": 0},
            {"prompt": "x", "seconds": 100},
            {"prompt": "x", "num_frames": 2000},
            {"prompt": "x", "num_frames": 10, "seconds": 60},
            {"prompt": "x", "num_frames": 10, "seconds": 1, "fps": 24},
            {"prompt": "x", "size": "64x64", "height": 64},
            {"prompt": "x", "size": "64"},
            {"prompt": "x", "input_reference": 5},
            {"prompt": "x", "input_reference": '{"image_url": 5}'},
            {"prompt": "x", "input_reference": {"url": PIXEL}},
            {"prompt": "x", "input_reference": {"image_url": 5}},
            {"prompt": "x", "input_reference": {"image_url": "x.png"}},
            {"prompt": "x", "input_reference": "https://example.com/x.png"},
            {"prompt": "x", "input_reference": PIXEL, "image_reference": PIXEL},
            {"prompt": "x", "keyframes": "["},
            {"prompt": "x", "keyframes": {}},
            {"prompt": "x", "keyframes": [{"frame_index": 0, "image": "x.png"}]},
            {"prompt": "x", "keyframes": [{"frame_index": "x", "image": PIXEL}]},
            {"prompt": "x", "keyframes": [{"image": PIXEL}]},
            {"prompt": "x", "keyframes": [{"frame_index": 500, "image": PIXEL}]},
            {"prompt": "x", "keyframes": [{"frame_index": 0, "image": PIXEL}, {"index": 0, "image": PIXEL}]},
        ],
    ),
    "POST /v1/videos/transitions": (
        lambda body: create.parse_transition(body, {}, {}),
        [
            {"prompt": "x"},
            {"prompt": "x", "start_image": PIXEL},
            {"prompt": "x", "start_image": 5, "end_image": PIXEL},
            {"prompt": "x", "start_image": PIXEL, "end_image": PIXEL, "keyframes": []},
            {"prompt": "x", "start_image": PIXEL, "end_image": PIXEL, "num_frames": 1},
        ],
    ),
    "POST /v1/videos/sequences": (
        lambda body: sequences.parse_sequence(body, {}),
        [
            {},
            {"scenes": []},
            sequence({"description": "x"}),
            sequence({"scene_number": 0, "description": "x"}),
            sequence({"scene_number": 1, "description": "x", "keyframe": "x.png"}),
            sequence({"scene_number": 1, "description": "x", "duration_frames": 2000}),
            sequence(transition_frames=1),
            sequence(*({"scene_number": i, "description": "x", "duration_frames": 1024} for i in range(1, 32))),
        ],
    ),
    "POST /v1/videos/extensions": (
        lambda body: continuations.extend(body, VIDEO),
        [
            {"prompt": "x"},
            {"prompt": "x", "seconds": 1, "num_frames": 1},
            {"prompt": "x", "num_frames": 1024},
            {"prompt": "x", "seconds": 100},
        ],
    ),
    "POST /v1/videos/edits": (
        lambda body: continuations.edit(body, VIDEO, IMAGE),
        [{}, {"prompt": "x", "strength": 0}],
    ),
    "POST /v1/videos/{video_id}/remix": (
        lambda body: continuations.remix(body, "video_1", create_plan(), VIDEO),
        [{}, {"prompt": "x"}],
    ),
    "POST /v1/files": (
        files.parse,
        [
            {},
            {"purpose": "batch"},
            {"purpose": "fun"},
            {"purpose": "vision", "expires_after": {"anchor": "x", "seconds": 5}},
        ],
    ),
    "POST /v1/models/{id}/download": (
        model_files.parse_download,
        [{"stream": "yes"}, {"colour": "red"}],
    ),
    "POST /v1/configurations/validate": (
        config,
        [
            {"configuration": 5},
            {"configuration": {}, "kind": "text"},
            {"kind": "alien", "model": "m"},
            {"kind": "text", "model": "m", "colour": "red"},
            {"kind": "text", "model": "m", "batch_size": 0},
        ],
    ),
    "Multipart forms": (
        lambda fields: flatten(gather_columns(fields)),
        [
            {"prompt": ["a", "b"]},
            {"input_reference": ["a"], "input_reference[image_url]": ["b"]},
            {"keyframes[][index]": ["1", "2"], "keyframes[][image]": ["x"]},
        ],
    ),
}


def create_plan() -> Any:
    plan, _ = sequences.parse_sequence(sequence({"scene_number": 1, "description": "x"}), {})
    return plan


def shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 110 else f"{text[:90]} ... {text[-15:]}"


@pytest.mark.parametrize("route", REQUESTS)
def test_malformed_requests(route: str) -> None:
    parse, bodies = REQUESTS[route]
    lines: list[str] = []
    for body in bodies:
        with pytest.raises(Exception) as refused:  # noqa: PT011 - what it is, the file shows
            parse(body)
        error = wire_error(refused.value)
        fields = f"{error.status} {error.type} param={error.param} code={error.code}"
        lines += [shown(body), f"    {fields}", f"    {error.message}"]
        assert error.status < 500, body
    check_section(route, lines)


@pytest.mark.parametrize("folder", ["adapters", "compat", "server"])
def test_every_error_in_the_code(folder: str) -> None:
    check_section(f"Errors made in {folder}/", literals(folder))


SENT: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/v1/nothing", {}),
    ("DELETE", "/v1/chat/completions", {}),
    ("POST", "/v1/chat/completions", {"content": b"{"}),
    ("POST", "/v1/chat/completions", {"content": b"[]"}),
    ("POST", "/v1/chat/completions", {"json": CHAT | {"model": "nobody"}}),
    ("POST", "/v1/chat/completions", {"json": CHAT | {"model": "fake-image"}}),
    ("POST", "/v1/chat/completions", {"json": CHAT, "headers": {"content-type": "text/plain"}}),
    ("GET", "/v1/models/nobody", {}),
    ("GET", "/v1/responses/resp_1", {}),
    ("POST", "/v1/responses/compact", {"json": {"model": "fake-text"}}),
    ("GET", "/v1/files/file-1", {}),
    ("GET", "/v1/files?limit=0", {}),
    ("GET", "/v1/files?order=newest", {}),
    ("GET", "/v1/responses/resp_1?stream=perhaps", {}),
    ("GET", "/v1/responses/resp_1?starting_after=x", {}),
    ("GET", "/v1/responses/resp_1/input_items?limit=101", {}),
    ("GET", "/v1/videos/video_1/content?variant=poster", {}),
    ("POST", "/v1/files", {"data": {"purpose": "vision"}}),
    ("GET", "/v1/videos/video_1", {}),
    ("GET", "/v1/videos?limit=x", {}),
    ("POST", "/v1/videos/characters", {"data": {"name": "x"}}),
    ("POST", "/v1/audio/transcriptions", {"data": {"model": "fake-speech"}}),
    ("POST", "/v1/audio/transcriptions", {"json": {"model": "fake-speech"}}),
    ("POST", "/v1/images/generations", {"json": {"prompt": "x", "model": "fake-text"}}),
    ("POST", "/v1/models/nobody/load", {}),
    ("GET", "/v1/configurations/alien", {}),
]


def test_messages_of_the_server(fake_server: Running) -> None:
    lines: list[str] = []
    with httpx.Client(base_url=fake_server.url, timeout=60) as client:
        for method, path, options in SENT:
            reply = client.request(method, path, **options)
            error = reply.json()["error"]
            sent = next((shown(value) for name, value in options.items() if name in ("json", "data")), "")
            sent = sent or options.get("content", b"").decode()
            lines += [f"{method} {path} {sent}".rstrip()]
            lines += [f"    {reply.status_code} {error['type']} param={error['param']} code={error['code']}"]
            lines += [f"    {error['message']}"]
            assert 400 <= reply.status_code < 500, (method, path)
    check_section("Errors of the server", lines)
