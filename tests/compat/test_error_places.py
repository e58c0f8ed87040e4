"""Errors name the field that is wrong: valid bodies of every route, with each part of them replaced by wrong values."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.base import Media
from compat import completions, embeddings, files, scenes
from compat.audio import speech
from compat.chat import request as chat
from compat.decisions import request as decisions
from compat.errors import RequestError
from compat.images import edits, generations
from compat.responses import request as responses
from compat.videos import continuations, create, sequences

Path = tuple[int | str, ...]
PIXEL = "data:image/png;base64,eA=="
SIZE = {"width": 64, "height": 64}
FUNCTION: dict[str, Any] = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
GRAMMAR = {"syntax": "lark", "definition": "x"}
PERSON: dict[str, Any] = {"name": "x", "schema": {}, "strict": True, "description": "d"}
TEXT = {"type": "input_text", "text": "x"}
PICTURE = {"type": "input_image", "image_url": PIXEL, "detail": "low"}
PREDICATE = {"type": "predicate", "instructions": "x"}
SAMPLING: dict[str, Any] = {"temperature": 1, "top_p": 1, "seed": 1, "n": 1, "logit_bias": {"1": 2}, "top_k": 1}
STREAM: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
BODIES: dict[str, tuple[Callable[[Any], object], list[dict[str, Any]]]] = {
    "chat": (
        chat.parse,
        [
            {
                "model": "m",
                "messages": [
                    {"role": "system", "content": "x"},
                    {
                        "role": "user",
                        "name": "n",
                        "content": [
                            {"type": "text", "text": "x"},
                            {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
                            {"type": "file", "file": {"file_id": "file-x"}},
                        ],
                    },
                ],
                "stop": ["a", "b"],
                "logprobs": True,
                "top_logprobs": 2,
                "max_tokens": 5,
                "modalities": ["text"],
                "response_format": {"type": "json_schema", "json_schema": PERSON},
                "tools": [
                    {"type": "function", "function": FUNCTION},
                    {"type": "custom", "custom": {"name": "g", "format": {"type": "grammar", "grammar": GRAMMAR}}},
                    {"type": "web_search"},
                ],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
                },
                "chat_template_kwargs": {"x": 1},
                **SAMPLING,
                **STREAM,
            },
            {"model": "m", "messages": [{"role": "user", "content": "x"}], "functions": [FUNCTION], "stop": "a"},
            {
                "model": "m",
                "messages": [{"role": "user", "content": "x"}],
                "tools": [{"type": "function", "function": FUNCTION}],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
            },
        ],
    ),
    "completions": (
        completions.parse,
        [{"model": "m", "prompt": prompt, **SAMPLING} for prompt in ("x", ["x", "y"], [1, 2], [[1], [2]])],
    ),
    "responses": (
        responses.parse,
        [
            {
                "model": "m",
                "input": [
                    {"role": "user", "content": "x"},
                    {"type": "message", "role": "user", "content": [TEXT, PICTURE]},
                    {"role": "user", "content": [{"type": "input_image", "file_id": "file-x"}]},
                ],
                "include": ["message.output_text.logprobs"],
                "metadata": {"a": "b"},
                "text": {"format": {"type": "json_schema", **PERSON}, "verbosity": "low"},
                "tools": [
                    {"type": "function", **FUNCTION},
                    {"type": "custom", "name": "g", "format": {"type": "grammar", **GRAMMAR}},
                    {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "h"}]},
                    {"type": "web_search"},
                ],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
                "reasoning": {"effort": "low"},
                "max_output_tokens": 5,
                "truncation": "auto",
            },
            {"model": "m", "input": "x", "text": {"format": {"type": "text"}}},
        ],
    ),
    "embeddings": (
        embeddings.parse,
        [
            {"model": "m", "input": given, "dimensions": 3, "encoding_format": "float", "truncate": "END"}
            for given in ("x", ["x", "y"], [1, 2], [[1], [2]])
        ],
    ),
    "decisions": (
        decisions.parse,
        [
            {
                "model": "m",
                "input": [{"role": "user", "content": [TEXT, PICTURE]}, {"role": "user", "content": "x"}],
                "questions": [
                    PREDICATE,
                    {"type": "choice", "instructions": [{**TEXT}], "choices": [{"value": "a"}, {"value": True}]},
                    {"type": "score", "instructions": "x", "levels": [{"label": "a"}, {"label": "b"}]},
                ],
            }
        ],
    ),
    "images": (
        lambda body: (generations.model_of(body), generations.parse(body, {})),
        [
            {
                "prompt": "x",
                "model": "m",
                "n": 1,
                "size": "64x64",
                "quality": "low",
                "output_format": "png",
                "lora": [{"name": "a", "scale": 1}],
                "refiner": {"steps": 1},
            }
        ],
    ),
    "edits": (
        lambda body: edits.parse_edit(body, edits.take_images(body, {}), {}),
        [
            {"prompt": "x", "image": [PIXEL], "mask": PIXEL, "strength": 0.5, "size": "64x64"},
            {"prompt": "x", "image": {"image_url": PIXEL}},
            {"prompt": "x", "image": [{"file_id": "file-x"}]},
        ],
    ),
    "videos": (
        lambda body: create.parse(body, None, SIZE),
        [
            {
                "prompt": "x",
                "seconds": 4,
                "size": "64x64",
                "input_reference": {"image_url": PIXEL},
                "seed": 1,
                "fps": 8,
            },
            {"prompt": "x", "keyframes": [{"frame_index": 0, "image": PIXEL}, {"frame_index": 3, "image": PIXEL}]},
            {"prompt": "x", "input_reference": {"file_id": "file-x"}},
            {"prompt": "x", "input_reference": '{"image_url": "data:image/png;base64,eA=="}'},
        ],
    ),
    "sequences": (
        lambda body: sequences.parse_sequence(body, SIZE),
        [
            {
                "scenes": [
                    {"scene_number": 0, "description": "x", "keyframe": PIXEL, "duration_frames": 9},
                    {"scene_number": 1, "description": "x", "motion_hint": "x"},
                ],
                "fps": 8,
                "transition_frames": 4,
            }
        ],
    ),
    "edits of videos": (
        lambda body: continuations.edit(body, create.parse({"prompt": "x"}, None, SIZE), Media("video/mp4", b"x")),
        [{"prompt": "x", "strength": 0.5}],
    ),
    "speech": (
        speech.parse,
        [{"model": "m", "input": "x", "voice": {"id": "v"}, "speed": 1, "response_format": "mp3"}],
    ),
    "files": (files.parse, [{"purpose": "vision", "expires_after": {"anchor": "created_at", "seconds": 3600}}]),
    "validations": (scenes.parse, [{"model": "m", "description": "x", "image": {"image_url": {"url": PIXEL}}}]),
    "consistency": (
        scenes.parse_consistency,
        [{"model": "m", "images": [PIXEL, {"image_url": PIXEL}, {"file_id": "file-x"}], "aspects": ["a", "b"]}],
    ),
}
WRONG: list[Any] = [
    None, 5, -1, 1.5, True, "", "zzz", "x" * 5000, [], [5], [None], ["zzz"], [{}], [[]], {}, {"type": "zzz"},
    {"type": 5}, {"type": ["a"]}, {"type": "text"}, {"type": "function"}, {"zzz": 1}, float("nan"),
]  # fmt: skip
PYDANTIC = re.compile(
    r"Value error|Input|should|valid dictionary|instance|Field|pydantic|union|\bdict\b|\blist\b|\bstr\b"
)
_INDEX = re.compile(r"\[\d+\]")
RELATED = {
    # Where a value is missing or renamed, another field that names it is wrong.
    "tools": "tool_choice", "functions": "function_call", "logprobs": "top_logprobs", "stream": "stream_options",
}  # fmt: skip


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from paths(item, (*path, name))


def written(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def replaced(body: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    changed: Any = copy.deepcopy(body)
    inner = changed
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return changed


def is_near(param: str, path: Path) -> bool:
    """Whether an error names the changed field, one inside it, or one that it was compared with."""
    place = written(path)
    if param.startswith(place) or place.startswith(param):
        return True
    return _INDEX.sub("[]", param) == _INDEX.sub("[]", place)  # Another item, of the same type or with the same name.


def refusal(parse: Callable[[Any], object], body: dict[str, Any]) -> RequestError | None:
    try:
        parse(body)
    except RequestError as error:
        return error
    return None


@pytest.mark.parametrize("route", BODIES)
def test_an_error_names_the_field_that_is_wrong(route: str) -> None:
    parse, bodies = BODIES[route]
    refused = 0
    for body in bodies:
        parse(copy.deepcopy(body))
        for path in paths(body):
            for value in WRONG:
                if (error := refusal(parse, replaced(body, path, value))) is None:
                    continue
                refused += 1
                case = (written(path), value, error.message)
                assert error.status in (400, 413), case
                assert error.param, case
                assert error.param in error.message, case
                related = RELATED.get(str(path[0]), "?")
                assert is_near(error.param, path) or error.param.startswith(related), case
                assert error.message.endswith("."), case
                assert not PYDANTIC.search(error.message), case
    assert refused > len(WRONG)
