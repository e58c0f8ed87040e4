"""Items of a response's input: what is taken, what becomes of them, what is refused and under which name."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.base import ImagePart, TextPart
from adapters.fake.images import png
from compat.errors import RequestError
from compat.responses import request
from compat.responses.conversation import conversation, cuts, shortened

PIXEL = "data:image/png;base64," + base64.b64encode(png(2, 2, (1, 2, 3))).decode()
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
ANSWER = {"type": "function_call_output", "call_id": "c1", "output": "42"}


def messages_of(given: object, **fields: object):
    call = request.parse({"model": "m", "input": given, **fields})
    return conversation(call.instructions, call.items)


def text_of(message) -> str:
    return "".join(part.text for part in message.content)


def test_a_conversation_of_every_kind_of_item() -> None:
    first, user, thinking, tool, last = messages_of(
        [
            {"role": "user", "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": PIXEL, "detail": "low"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "I ask", "annotations": []}]},
            CALL,
            ANSWER,
            {"role": "user", "content": "so?"},
        ],
        instructions="be kind",
    )  # fmt: skip
    assert (first.role, text_of(first)) == ("system", "be kind")
    assert user.content[0] == TextPart("look")
    assert isinstance(user.content[1], ImagePart)
    assert user.content[1].detail == "low"
    assert (thinking.role, text_of(thinking), thinking.reasoning) == ("assistant", "I ask", "hm")
    assert [(call.id, call.name, call.arguments) for call in thinking.tool_calls] == [("c1", "f", "{}")]
    assert (tool.role, tool.tool_call_id, text_of(tool)) == ("tool", "c1", "42")
    assert text_of(last) == "so?"


def test_parallel_calls_are_one_turn_and_turns_stay_apart() -> None:
    other = {**CALL, "call_id": "c2"}
    turns = messages_of(
        ["x", CALL, other, ANSWER, {**ANSWER, "call_id": "c2"}][1:] + [{"role": "assistant", "content": "a"}] * 2
    )
    assert [turn.role for turn in turns] == ["assistant", "tool", "tool", "assistant", "assistant"]
    assert [call.index for call in turns[0].tool_calls] == [0, 1]


def test_the_same_call_id_may_come_again_in_a_later_turn() -> None:
    assert len(messages_of([CALL, ANSWER, CALL, ANSWER])) == 4


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([{"role": "alien", "content": "x"}], "input[0].role"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "user", "content": 7}], "input[0].content"),
        ([{"role": "user", "content": [{"type": "output_text", "text": "x"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_audio", "data": "x"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_image", "file_id": "a/b"}]}], "input[0].content[0].file_id"),
        ([{"role": "user", "content": [{"type": "input_image"}]}], "input[0].content[0]"),
        ([{"role": "system", "content": [{"type": "input_image", "image_url": PIXEL}]}], "input[0].content[0]"),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]}], "input[0].content[0].image_url"),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": PIXEL[:-3]}]}], "input[0].content[0].image_url"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "x", "extra": 1}]}], "input[0].content[0].extra"),
        ([{"type": 7}], "input[0].type"),
        ([{"type": "input_text", "text": "x"}], "input[0].type"),
        ([{"type": "item_reference", "id": "a"}, {"type": "item_reference", "id": "a"}], "input[1].id"),
        ([[]], "input[0]"),
        ([{"role": "user", "content": "x", "id": "../../etc"}], "input[0].id"),
        ([{"role": "user", "content": "x"}] * 4097, "input"),
        ([], "input"),
        (None, "input"),
        ({"role": "user"}, "input"),
        (7, "input"),
    ],
)  # fmt: skip
def test_promise_28_what_is_wrong_is_named(given: object, param: str) -> None:
    with pytest.raises(RequestError) as refused:
        messages_of(given)
    assert (refused.value.status, refused.value.param) == (400, param), refused.value.message


USER = {"role": "user", "content": "go on"}


@pytest.mark.parametrize(
    "earlier",
    [
        [ANSWER],
        [CALL],
        [ANSWER, CALL],
        [CALL, ANSWER, ANSWER],
        [{**CALL, "arguments": '{"a": "cut'}, ANSWER],
        [{**CALL, "arguments": {"a": 1}, "id": "not an id!", "namespace": "n", "caller": {"type": "direct"}}, ANSWER],
        [{"type": "function_call", "name": "f"}, {"type": "function_call_output", "output": {"a": 1}}],
        [{"type": "function_call"}],
        [{"type": "custom_tool_call", "name": "f", "call_id": "c", "input": "x"}],
        [CALL, {**ANSWER, "type": "custom_tool_call_output", "output": None}],
        [CALL, {**ANSWER, "output": [{"type": "input_image", "image_url": "https://example.com/x.png"}]}],
        [CALL, {**ANSWER, "output": [{"type": "input_image", "image_url": "data:image/png;base64,?"}]}],
        [CALL, {**ANSWER, "output": [{"type": "input_file", "file_data": 5}, {"type": "new"}, 5, None]}],
        [{"type": "reasoning", "encrypted_content": "x", "summary": None, "content": [{"text": 5}]}],
        [{"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}],
        [{"type": "local_shell_call", "action": {}}, {"type": "local_shell_call_output", "output": "x"}],
        [{"type": "compaction", "encrypted_content": "x"}],
        [{"type": "new_item"}, {"role": "assistant", "content": "x"}],
        [{"role": "tool", "tool_call_id": "c", "content": "x"}],
        [{"role": "assistant", "content": None, "tool_calls": [{}]}],
        [{"role": "assistant", "content": [{"type": "text", "text": "x"}, {"type": "thinking"}], "extra": 1}],
        [{"role": "user", "content": [{"type": "input_audio"}], "id": "a"}, {"role": "assistant", "content": [], "id": "a"}],
        [{"role": "system", "content": {"type": "text", "text": "x"}}, {"role": "assistant", "content": "y", "phase": "z"}],
    ],
    ids=str,
)  # fmt: skip
def test_what_was_said_is_never_refused(earlier: list[Any]) -> None:
    messages = messages_of([*earlier, USER])
    assert messages[-1].content == (TextPart("go on"),)


def test_custom_calls_and_images_of_tools_reach_the_model() -> None:
    call = {"type": "custom_tool_call", "name": "patch", "call_id": "c", "input": 'a "b"'}
    output = {**ANSWER, "type": "custom_tool_call_output", "output": [{"type": "input_image", "image_url": PIXEL}]}
    made, answered = messages_of([call, {**output, "call_id": "c"}])
    assert json.loads(made.tool_calls[0].arguments) == {"input": 'a "b"'}
    assert answered.content[0].image.media_type == "image/png"
    assert answered.content[0].earlier


def test_a_conversation_is_cut_between_turns() -> None:
    turns = messages_of(
        [
            {"role": "developer", "content": "rules"},
            {"role": "user", "content": "one"}, CALL, ANSWER, {"role": "assistant", "content": "1"},
            {"role": "user", "content": "two"}, {"role": "assistant", "content": "2"},
            {"role": "user", "content": "three"},
        ],
        instructions="be kind",
    )  # fmt: skip
    kept = [[text_of(turn) for turn in shortened(turns, start)] for start in cuts(turns)]
    assert kept == [["be kind", "rules", "two", "2", "three"], ["be kind", "rules", "three"]]
    assert cuts(messages_of("only one")) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "role", "content", "id", "text", "call_id", "output", "summary", "image_url", "x"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*request.ResponseCreateRequest.model_fields, "x"]), JSON, max_size=8))
def test_promise_7_any_body_is_a_call_or_a_400(body: dict) -> None:
    statuses: list[int] = []
    for fields in (body, {"model": "m", "input": "x", **body}):
        try:
            request.parse(fields)
        except RequestError as refused:
            statuses.append(refused.status)
    assert set(statuses) <= {400}


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(JSON)
def test_promise_7_any_json_is_a_conversation_or_a_400(given: object) -> None:
    statuses: list[int] = []
    try:
        messages_of(given)
    except RequestError as refused:
        statuses.append(refused.status)
    assert set(statuses) <= {400, 413}
