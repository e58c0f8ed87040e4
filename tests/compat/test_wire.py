"""What all request schemas share: errors that name the field, and hostile bodies that cost no time."""

import time
from typing import Any

import pytest

from compat import completions
from compat.chat import request
from compat.errors import RequestError

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
MANY = 300_000


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (CHAT | dict.fromkeys(map(str, range(MANY)), 0), "0"),
        (CHAT | {"logit_bias": dict.fromkeys(map(str, range(MANY)), "x")}, "logit_bias"),
        (CHAT | {"modalities": ["x"] * MANY}, "modalities"),
        (CHAT | {"stop": [0] * MANY}, "stop"),
        (CHAT | {"tools": [{}] * MANY}, "tools[0].type"),
        (CHAT | {"messages": [0] * MANY}, "messages[0]"),
        (
            CHAT | {"messages": [{"role": "user", "content": [{"type": "text", "text": 0}] * MANY}]},
            "messages[0].content[0].text",
        ),
    ],
)
def test_promise_8_a_million_errors_are_found_as_fast_as_one(body: dict[str, Any], param: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(RequestError) as refused:
        request.parse(body)
    assert refused.value.param == param
    assert time.perf_counter() - begun < 0.2


@pytest.mark.parametrize(("prompt", "param"), [([0.5] * MANY, "prompt[0]"), (["x", *[0] * MANY], "prompt[1]")])
def test_promise_8_a_hostile_prompt_too(prompt: list[Any], param: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(RequestError) as refused:
        completions.parse({"model": "m", "prompt": prompt})
    assert refused.value.param == param
    assert time.perf_counter() - begun < 0.2


def test_a_long_name_is_not_repeated_whole() -> None:
    with pytest.raises(RequestError) as refused:
        request.parse(CHAT | {"x" * 10_000_000: 1})
    assert len(refused.value.message) < 200
