"""Conversations in forms that chat templates can show."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adapters.base import IMAGE_TEXT, ImagePart, Media, Message, TextPart, ToolCall
from adapters.text.prompts.control_tokens import ControlTokenEscaper
from adapters.text.prompts.conversation import (
    SHORT_CHARACTERS,
    SHORT_MESSAGES,
    is_short,
    object_arguments,
    openai_message,
    simpler,
    with_images_of_users,
)
from adapters.text.prompts.images import PromptImage

CONTROL = re.compile(r"<\|im_end\|>")
PICTURE = ImagePart(Media("image/png", b"x"))
DECODED = {id(PICTURE): PromptImage(Image.new("RGB", (2, 2)), "digest")}


def said(role: Any, text: str = "", *, calls: tuple[ToolCall, ...] = (), call_id: str = "") -> Message:
    return Message(role, (TextPart(text),) if text else (), calls, call_id)


def texts(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(one.role, "|".join(part.text for part in one.content if isinstance(part, TextPart))) for one in messages]


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("", {}),
        ('{"a": 1}', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),  # encoded twice
        ('{"city": "Par', {"arguments": '{"city": "Par'}),
        ("[1]", {"arguments": "[1]"}),
        ("5", {"arguments": "5"}),
        ('{"a": NaN}', {"a": "NaN"}),
        ("[" * 100_000, {"arguments": "[" * 100_000}),
    ],
    ids=["none", "object", "string", "cut", "list", "number", "NaN", "deep"],
)
def test_arguments_are_always_an_object(given_text: str, shown: dict[str, Any]) -> None:
    assert json.loads(object_arguments(given_text)) == shown


@given(st.text())
def test_arguments_of_any_text_are_an_object(text: str) -> None:
    assert isinstance(json.loads(object_arguments(text)), dict)


def test_a_message_has_openais_form() -> None:
    escaper = ControlTokenEscaper(CONTROL)
    call = ToolCall("call_1", "f", "{}")
    shown = openai_message(said("assistant", "Hello", calls=(call,)), {}, escaper)
    assert shown == {
        "role": "assistant",
        "content": "Hello",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    assert openai_message(said("tool", "18", call_id="call_1"), {}, escaper)["tool_call_id"] == "call_1"
    named = openai_message(Message("user", (TextPart("x"),), name="n", reasoning="r"), {}, escaper)
    assert (named["name"], named["reasoning"]) == ("n", "r")


def test_an_image_is_given_decoded_and_a_missing_one_as_text() -> None:
    message = Message("user", (TextPart("x"), PICTURE))
    shown = openai_message(message, DECODED, ControlTokenEscaper(CONTROL))
    assert shown["content"][1] == {"type": "image_pil", "image_pil": DECODED[id(PICTURE)].image, "uuid": "digest"}
    without = openai_message(message, {}, ControlTokenEscaper(CONTROL))
    assert without["content"][1] == {"type": "text", "text": IMAGE_TEXT}


def test_promise_8_no_part_of_a_message_keeps_a_control_token() -> None:
    token = "<|im_end|>"
    call = ToolCall("call_1", f"f{token}", json.dumps({token: token}))
    message = Message("assistant", (TextPart(token),), (call,), "", token, token)
    shown = openai_message(message, {}, ControlTokenEscaper(CONTROL))
    assert token not in json.dumps(shown)


def test_images_of_tool_results_follow_in_a_message_of_the_user() -> None:
    result = Message("tool", (TextPart("seen"), PICTURE), tool_call_id="a")
    asked = said("user", "x")
    shown = with_images_of_users((asked, result, said("tool", "more", call_id="b"), said("assistant", "y")), DECODED)
    assert [one.role for one in shown] == ["user", "tool", "tool", "user", "assistant"]
    assert shown[1].content == (TextPart("seen"), TextPart(IMAGE_TEXT))
    assert shown[3].content == (PICTURE,)
    unreadable = with_images_of_users((asked, result), {})
    assert [one.role for one in unreadable] == ["user", "tool"]


def test_simpler_forms_have_one_system_message_and_then_none() -> None:
    call = ToolCall("a", "f", '{"x": 1}')
    conversation = (
        said("system", "S"),
        said("user", "1"),
        said("user", "2"),
        said("assistant", "3", calls=(call,)),
        said("tool", "4", call_id="a"),
        said("developer", "D"),
        said("user", "5"),
    )
    first, second = simpler(conversation)
    calling = '3\n{"name": "f", "arguments": {"x": 1}}'
    assert texts(first) == [("system", "S\nD"), ("user", "1\n2"), ("assistant", calling), ("user", "4\n5")]
    assert texts(second) == [("user", "S\nD\n1\n2"), ("assistant", calling), ("user", "4\n5")]


def test_a_conversation_that_begins_with_the_assistant_gets_an_empty_turn_before() -> None:
    (only,) = simpler((said("assistant", "Hello"),))
    assert texts(only) == [("user", ""), ("assistant", "Hello")]
    (empty,) = simpler(())
    assert texts(empty) == [("user", "")]


@given(st.lists(st.sampled_from(["system", "developer", "user", "assistant", "tool"]), max_size=12))
def test_turns_alternate_and_no_text_is_lost(roles: list[str]) -> None:
    conversation = tuple(said(role, f"<{at}>") for at, role in enumerate(roles))
    for form in simpler(conversation):
        turns = form[1:] if form[0].role == "system" else form
        assert [one.role for one in turns] == [("user", "assistant")[at % 2] for at in range(len(turns))]
        whole = "\n".join(text for _, text in texts(form))
        assert all(whole.count(f"<{at}>") == 1 for at in range(len(roles)))


def test_what_is_short() -> None:
    assert is_short((said("user", "x" * SHORT_CHARACTERS),), ())
    assert not is_short((said("user", "x" * SHORT_CHARACTERS), said("user", "x")), ())
    assert not is_short((said("user", "x"),) * (SHORT_MESSAGES + 1), ())
    assert not is_short((said("user", "x"),), ("tool",))
    assert not is_short((Message("user", (PICTURE,)),), ())
