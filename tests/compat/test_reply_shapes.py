"""Every reply of the fakes against the types of OpenAI's SDK: required fields are there, and null only where it may be."""

import base64
import io
import json
import wave
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import httpx
import openai.types as types
import openai.types.audio as audio
import openai.types.chat as chat
import openai.types.responses as responses
import pytest
from openai.types import image_edit_stream_event, image_gen_stream_event
from pydantic import BaseModel
from support.servers import Running
from typing_extensions import TypeAliasType

Reply = tuple[Any, Any]
"""A JSON value, and the type of the SDK that it must have."""
USER = [{"role": "user", "content": "one two three"}]
CALL = [{"role": "user", "content": '[call=f {"a": 1}]'}]
FUNCTION: dict[str, Any] = {"name": "f", "parameters": {"type": "object"}}
TOOLS: list[Any] = [{"type": "function", "function": FUNCTION}]
CUSTOM: list[Any] = [{"type": "custom", "custom": {"name": "f"}}]
FLAT: list[Any] = [{"type": "function", **FUNCTION}]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
CHATS: dict[str, dict[str, Any]] = {
    "plain": {"messages": USER},
    "several": {"messages": USER, "n": 2},
    "logprobs": {"messages": USER, "logprobs": True, "top_logprobs": 2},
    "cut": {"messages": USER, "max_tokens": 1},
    "call": {"messages": CALL, "tools": TOOLS},
    "forced": {"messages": USER, "tools": TOOLS, "tool_choice": "required"},
    "custom": {"messages": CALL, "tools": CUSTOM},
    "functions": {"messages": CALL, "functions": [FUNCTION]},
    "json": {"messages": USER, "response_format": {"type": "json_object"}},
}
COMPLETIONS: dict[str, dict[str, Any]] = {
    "plain": {"prompt": "one two"},
    "several": {"prompt": ["one", "two"], "n": 2},
    "logprobs": {"prompt": "one two", "logprobs": 2, "echo": True},
}
RESPONSES: dict[str, dict[str, Any]] = {
    "plain": {"input": "one two three"},
    "logprobs": {"input": "one two", "include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "call": {"input": CALL, "tools": FLAT},
    "custom": {"input": CALL, "tools": [{"type": "custom", "name": "f"}]},
    "left out": {"input": "one", "tools": [{"type": "web_search"}, *FLAT]},
    "namespace": {"input": CALL, "tools": [{"type": "namespace", "name": "n", "description": "d", "tools": FLAT}]},
    "allowed": {
        "input": CALL,
        "tools": FLAT,
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    },
    "schema": {"input": "one", "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}},
    "labels": {
        "input": "one",
        "metadata": {"a": "b"},
        "user": "u",
        "instructions": "x",
        "reasoning": {"effort": "low"},
    },
    "cut": {"input": "one two three four", "max_output_tokens": 1},
}


def differences(value: Any, kind: Any, path: str = "") -> Iterator[str]:
    """Where a JSON value is not as its type says: what is missing, null, or of another type."""
    while get_origin(kind) is Annotated or isinstance(kind, TypeAliasType):
        kind = kind.__value__ if isinstance(kind, TypeAliasType) else get_args(kind)[0]
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in (Any, object):
        return
    if origin in (Union, UnionType):
        found = [list(differences(value, one, path)) for one in arguments if one is not NoneType]
        if not (value is None and NoneType in arguments) and all(found):
            yield from min(found, key=len)
    elif origin is Literal:
        if value not in arguments:
            yield f"{path} is {value!r}, not one of {arguments}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path} is {value!r:.40}, not a list"
        for at, one in enumerate(value if isinstance(value, list) else ()):
            yield from differences(one, arguments[0], f"{path}[{at}]")
    elif origin is dict:
        for name, one in value.items() if isinstance(value, dict) else ():
            yield from differences(one, arguments[1], f"{path}.{name}")
        if not isinstance(value, dict):
            yield f"{path} is {value!r:.40}, not an object"
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _of_model(value, kind, path)
    elif kind is float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            yield f"{path} is {value!r:.40}, not a number"
    elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{path} is {value!r:.40}, not {kind.__name__}"


def _of_model(value: Any, kind: type[BaseModel], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is {value!r:.40}, not an object"
        return
    for name, field in kind.model_fields.items():
        name = field.alias or name
        if name in value:
            yield from differences(value[name], field.annotation, f"{path}.{name}")
        elif field.is_required():
            yield f"{path}.{name} is missing"


def assert_as(kind: Any, *values: Any) -> None:
    for value in values:
        assert not list(differences(value, kind)), value


@pytest.fixture(scope="module")
def http(fake_server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{fake_server.url}/v1", timeout=60) as client:
        yield client


def sent(reply: httpx.Response) -> Any:
    assert reply.status_code == 200, reply.text
    return reply.json()


def events(reply: httpx.Response) -> list[Any]:
    assert reply.status_code == 200, reply.text
    data = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
    assert data
    return [json.loads(one) for one in data if one != "[DONE]"]


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"\x10\x20" * 16000)
    return out.getvalue()


def image(http: httpx.Client) -> str:
    made = sent(http.post("/images/generations", json={"model": "fake-image", "prompt": "x", "size": "64x64"}))
    return made["data"][0]["b64_json"]


@pytest.mark.parametrize("case", CHATS)
def test_chat(http: httpx.Client, case: str) -> None:
    body = {"model": "fake-text", **CHATS[case]}
    reply = sent(http.post("/chat/completions", json=body))
    assert_as(chat.ChatCompletion, reply)
    for choice in reply["choices"]:
        assert choice["message"]["annotations"] == []
        assert {"tool_calls", "function_call"}.isdisjoint(
            name for name, value in choice["message"].items() if value is None
        )
    streamed = events(http.post("/chat/completions", json=body | {"stream": True}))
    if case != "custom":  # In the SDK, chunks have calls of functions only.
        assert_as(chat.ChatCompletionChunk, *streamed)
    for chunk in streamed:
        assert None not in chunk["choices"][0]["delta"].values()


@pytest.mark.parametrize("case", COMPLETIONS)
def test_completions(http: httpx.Client, case: str) -> None:
    body = {"model": "fake-text", **COMPLETIONS[case]}
    assert_as(types.Completion, sent(http.post("/completions", json=body)))
    for chunk in events(http.post("/completions", json=body | {"stream": True})):
        # The SDK has no type for chunks: only the last of a choice has a reason.
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        assert_as(types.Completion, chunk)


@pytest.mark.parametrize("case", RESPONSES)
def test_responses(http: httpx.Client, case: str) -> None:
    body = {"model": "fake-text", **RESPONSES[case]}
    reply = sent(http.post("/responses", json=body))
    assert_as(responses.Response, reply, sent(http.get(f"/responses/{reply['id']}")))
    items = sent(http.get(f"/responses/{reply['id']}/input_items"))
    assert_as(responses.ResponseItem, *items["data"])
    streamed = events(http.post("/responses", json=body | {"stream": True}))
    assert_as(responses.ResponseStreamEvent, *streamed)


def test_background_responses(http: httpx.Client) -> None:
    reply = sent(
        http.post("/responses", json={"model": "fake-text", "input": "one [delay=0.2] two", "background": True})
    )
    assert_as(responses.Response, reply, sent(http.post(f"/responses/{reply['id']}/cancel")))


def test_embeddings(http: httpx.Client) -> None:
    body = {"model": "fake-embedding", "input": ["one", "two"]}
    assert_as(types.CreateEmbeddingResponse, sent(http.post("/embeddings", json=body)))


def test_models(http: httpx.Client) -> None:
    found = sent(http.get("/models"))["data"]
    assert_as(types.Model, *found, sent(http.get(f"/models/{found[0]['id']}")))


@pytest.mark.parametrize("form", ["json", "verbose_json"])
def test_transcriptions(http: httpx.Client, form: str) -> None:
    kinds = {"json": audio.Transcription, "verbose_json": audio.TranscriptionVerbose}
    translations = {"json": audio.Translation, "verbose_json": audio.TranslationVerbose}
    fields = {"model": "fake-speech", "response_format": form}
    words = {"timestamp_granularities[]": ["word", "segment"]} if form == "verbose_json" else {"include[]": "logprobs"}
    files = {"file": ("a.wav", sound())}
    assert_as(kinds[form], sent(http.post("/audio/transcriptions", data=fields | words, files=files)))
    assert_as(translations[form], sent(http.post("/audio/translations", data=fields, files=files)))


def test_streamed_transcriptions(http: httpx.Client) -> None:
    fields = {"model": "fake-speech", "stream": "true", "include[]": "logprobs"}
    streamed = events(http.post("/audio/transcriptions", data=fields, files={"file": ("a.wav", sound())}))
    assert_as(audio.TranscriptionStreamEvent, *streamed)


def test_speech_events(http: httpx.Client) -> None:
    body = {"model": "fake-voice", "input": "one two", "voice": "alloy", "stream_format": "sse"}
    names = {"speech.audio.delta": {"audio"}, "speech.audio.done": {"usage"}}  # The SDK has no types for these events.
    for event in events(http.post("/audio/speech", json=body)):
        assert names[event["type"]] <= event.keys()


def test_images(http: httpx.Client) -> None:
    body = {"model": "fake-image", "prompt": "x", "size": "1024x1024"}
    reply = sent(http.post("/images/generations", json=body))
    assert_as(types.ImagesResponse, reply)
    streamed = events(http.post("/images/generations", json=body | {"stream": True, "partial_images": 1}))
    assert_as(image_gen_stream_event.ImageGenStreamEvent, *streamed)
    files = {"image": ("a.png", base64.b64decode(reply["data"][0]["b64_json"]))}
    edit = {"model": "fake-image", "prompt": "x"}
    assert_as(types.ImagesResponse, sent(http.post("/images/edits", data=edit, files=files)))
    streamed = events(http.post("/images/edits", data=edit | {"stream": "true"}, files=files))
    assert_as(image_edit_stream_event.ImageEditStreamEvent, *streamed)
    assert_as(types.ImagesResponse, sent(http.post("/images/variations", data={"model": "fake-image"}, files=files)))


def test_videos(http: httpx.Client) -> None:
    body = {"model": "fake-video", "prompt": "x", "seconds": "4", "size": "720x1280"}
    video = sent(http.post("/videos", json=body))
    listed = sent(http.get("/videos"))
    mine = [one for one in listed["data"] if one["id"] == video["id"]]
    assert_as(types.Video, video, *mine, sent(http.get(f"/videos/{video['id']}")))
    assert listed["object"] == "list"
    assert_as(types.VideoDeleteResponse, sent(http.delete(f"/videos/{video['id']}")))


def test_files(http: httpx.Client) -> None:
    files = {"file": ("a.png", base64.b64decode(image(http)))}
    made = sent(http.post("/files", data={"purpose": "vision"}, files=files))
    assert_as(types.FileObject, made, sent(http.get(f"/files/{made['id']}")), *sent(http.get("/files"))["data"])
    assert_as(types.FileDeleted, sent(http.delete(f"/files/{made['id']}")))


def test_errors(http: httpx.Client) -> None:
    reply = http.post("/chat/completions", json={"model": "fake-text"})
    assert reply.status_code == 400
    assert_as(types.shared.ErrorObject, reply.json()["error"])


def test_differences_are_found() -> None:
    good = {"id": "m", "created": 1, "object": "model", "owned_by": "x"}
    assert not list(differences(good, types.Model))
    for name in good:
        assert list(differences({key: value for key, value in good.items() if key != name}, types.Model))
        assert list(differences(good | {name: None}, types.Model))
    assert list(differences(good | {"created": "1"}, types.Model))
    assert list(differences(good | {"object": "video"}, types.Model))
