"""What is read in one pass is read as `compat.chat.request.parse` reads it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat.chat import plain, request
from compat.errors import RequestError
from compat.json_body import decode

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NEAR = st.sampled_from(
    [0, 1, 2, 2.0, 1.5, -1, -0.0, 1e-9, 2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 2**70, True, "1", None]
)
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "robot"])
CONTENTS = st.text(max_size=12) | st.just([{"type": "text", "text": "a"}]) | SCALARS
MESSAGES = st.fixed_dictionaries({"role": ROLES, "content": CONTENTS}, optional={"name": st.text(max_size=4)})
NAMES = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stream", "n", "user", "odd")
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.text(max_size=6) | SCALARS,
        "messages": st.lists(MESSAGES, max_size=3) | SCALARS,
        "stream_options": st.none() | st.fixed_dictionaries({}, optional={"include_usage": SCALARS, "odd": SCALARS}),
        **dict.fromkeys(NAMES, NEAR | SCALARS),
    },
)


def whole(body: bytes) -> request.ChatCall | None:
    try:
        return request.parse(decode(body))
    except RequestError:
        return None


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(BODIES)
def test_promise_7_what_it_reads_the_whole_parser_reads_alike(body: dict[str, Any]) -> None:
    encoded = json.dumps(body).encode()
    quick = plain.parse(encoded)
    assert quick is None or quick == whole(encoded)


def test_the_commonest_requests_are_read() -> None:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello.\ud83e\udd8a"}],
        "max_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
        "seed": -3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    encoded = json.dumps(body).encode()
    assert plain.parse(encoded) == whole(encoded) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b"\xff", b'{"model":"m","messages":[]}', b'{"model":"m","messages":[{"role":"user","content":"\\u0000"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"a","name":"b"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"a"}],"stream_options":{"include_usage":true}}',
        b'{"model":"m","messages":[{"role":"user","content":"a"}],"max_tokens":1,"max_completion_tokens":1}',
        b'{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":2.5}',
        b'{"model":"m","messages":[{"role":"user","content":"a"}],"tools":[]}',
        b'{"model":"m","messages":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)  # fmt: skip
def test_promise_7_all_else_is_left_to_the_whole_parser(body: bytes) -> None:
    assert plain.parse(body) is None
