"""Parsers of calls and the grammars that hold a model to them, without an engine."""

import json
from importlib import import_module
from typing import Any

import llguidance
import llguidance.hf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.servers import model_path

from adapters.base import TextRequest, Tool
from adapters.engines.vllm import preload
from adapters.text.tools import grammars
from adapters.text.tools.grammars import CallForm
from adapters.text.tools.json_scanner import ObjectScanner

preload()  # vLLM is imported as the adapter does it: with the warnings of its import out of the way.
PlainJsonToolParser: Any = import_module("adapters.text.tools.plain_json").PlainJsonToolParser
PLAIN = CallForm("", "", marked=False)
CALL = '{"name": "f", "arguments": {"a": 1}}'
SECOND = '{"name": "g", "arguments": {"b": [{"c": "}"}]}}'
F = Tool("f", parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})


def parsed(pieces: list[str], names: tuple[str, ...] = ("f", "g")) -> tuple[str, list[tuple[str, str]]]:
    """Text and calls of an answer that comes in these pieces."""
    parser = PlainJsonToolParser(None)
    parser._names = set(names)
    text, calls, so_far = "", list[list[str]](), ""
    for piece in pieces:
        before, so_far = so_far, so_far + piece
        delta = parser.extract_tool_calls_streaming(before, so_far, piece, [], [], [], None)
        text += (delta and delta.content) or ""
        for call in (delta and delta.tool_calls) or []:
            if call.id:
                calls.append([call.function.name, ""])
            assert call.index < len(calls)
            calls[call.index][1] += call.function.arguments or ""
    return text + parser.held_back(so_far), [(name, arguments) for name, arguments in calls]


def cut(text: str, data: st.DataObject) -> list[str]:
    places = sorted(data.draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=20)))
    return [text[begin:end] for begin, end in zip([0, *places], [*places, len(text)], strict=True)]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        (CALL, [("f", '{"a": 1}')]),
        (f"```json\n{CALL}\n```", [("f", '{"a": 1}')]),
        (f"<tool_call>\n{CALL}\n</tool_call>", [("f", '{"a": 1}')]),
        ('{\n  "name" : "f",\n  "arguments" : {\n "a": "\\"}" }\n}', [("f", '{\n "a": "\\"}" }')]),
        (f"{CALL}\n{SECOND}", [("f", '{"a": 1}'), ("g", '{"b": [{"c": "}"}]}')]),
        (f"{CALL}\n{CALL}\n{CALL}", [("f", '{"a": 1}')]),
        (f"{CALL}\n\nI have called it.", [("f", '{"a": 1}')]),
        ('{"name": "f", "parameters": {}}', [("f", "{}")]),
    ],
)
@given(data=st.data())
def test_calls_are_found_wherever_the_text_is_split(text: str, calls: list[Any], data: st.DataObject) -> None:
    assert parsed(cut(text, data)) == ("", calls)


@pytest.mark.parametrize(
    "text",
    [
        "Hello, world.",
        '{"answer": 42}',
        '{"name": "unknown", "arguments": {}}',
        "```python\nprint(1)\n```",
        "```json\n[1, 2]\n```",
        '{"name": "f"',
        "{",
        "   ",
        "<tool_ca",
        "<b>bold</b>",
        '{"name": ' + '"f' * 200,
    ],
)
@given(data=st.data())
def test_what_is_not_a_call_is_text_in_full(text: str, data: st.DataObject) -> None:
    assert parsed(cut(text, data)) == (text, [])


@given(st.text(alphabet='{}"\\nameargumentsf:, []`<tool_call>\n', max_size=200), st.data())
def test_promise_7_any_text_can_be_parsed(text: str, data: st.DataObject) -> None:
    parsed(cut(text, data) if text else [""])


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)),
    st.data(),
)
def test_a_scanner_finds_the_end_of_any_object(value: Any, data: st.DataObject) -> None:
    text = json.dumps({"value": value})
    scanner = ObjectScanner()
    assert "".join(scanner.feed(piece) for piece in cut(text + "} trailing {", data)) == text
    assert scanner.done


@pytest.fixture(scope="module")
async def tokenizer() -> Any:
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(await model_path("qwen2.5-coder-0.5b-instruct"))
    found.llguidance = llguidance.hf.from_tokenizer(found)
    return found


def accepts(tokenizer: Any, grammar: str, text: str) -> bool:
    matcher = llguidance.LLMatcher(tokenizer.llguidance, grammar)
    assert not matcher.get_error(), matcher.get_error()
    tokens = tokenizer.encode(text, add_special_tokens=False)
    return matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()


def test_grammars_of_plain_calls(tokenizer: Any) -> None:
    only = grammars.forced(PLAIN, (F,), parallel=False)
    assert accepts(tokenizer, only, CALL)
    assert not accepts(tokenizer, only, f"{CALL}\n{CALL}")
    assert not accepts(tokenizer, only, '{"name": "f", "arguments": {"a": "1"}}')
    assert not accepts(tokenizer, only, '{"name": "g", "arguments": {"a": 1}}')
    assert not accepts(tokenizer, only, "Hello")
    several = grammars.forced(PLAIN, (F,), parallel=True)
    assert accepts(tokenizer, several, f"{CALL}\n{CALL}")
    assert not accepts(tokenizer, several, "\n".join([CALL] * (grammars.MAX_CALLS + 1)))
    either = grammars.calls_or_text(PLAIN, (F,), parallel=True)
    for text in (CALL, "Hello { there", "```python\nprint()\n```", "`f`"):
        assert accepts(tokenizer, either, text), text
    assert not accepts(tokenizer, either, '{"name": "f", "arguments": {"a": "1"}}')
    schema = {"type": "object", "properties": {"x": {"type": "null"}}, "required": ["x"]}
    answer = grammars.calls_or_json(PLAIN, (F,), schema, parallel=True)
    assert accepts(tokenizer, answer, CALL)
    assert accepts(tokenizer, answer, '{"x": null}')
    referring = {"$defs": {"n": {"type": "integer"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}}
    answer = grammars.calls_or_json(PLAIN, (F, Tool("g", parameters=referring)), referring, parallel=True)
    assert accepts(tokenizer, answer, '{"name": "g", "arguments": {"a": 1}}')
    assert accepts(tokenizer, answer, '{"a": 2}')
    assert not accepts(tokenizer, answer, '{"a": "2"}')
    assert not accepts(tokenizer, answer, "Hello")


def test_grammars_of_marked_calls(tokenizer: Any) -> None:
    ids = tokenizer.convert_tokens_to_ids(["<tool_call>", "</tool_call>"])
    form = CallForm(f'<[{ids[0]}]> "\\n"', f'"\\n" <[{ids[1]}]>', marked=True)
    call = f"<tool_call>\n{CALL}\n</tool_call>"
    assert accepts(tokenizer, grammars.forced(form, (F,), parallel=True), f"{call}\n{call}")
    either = grammars.calls_or_text(form, (F,), parallel=True)
    for text in ("Hello {there}", call, f"I will call it.\n{call}"):
        assert accepts(tokenizer, either, text), text
    assert not accepts(tokenizer, either, call.replace("1", '"1"'))


@pytest.mark.parametrize("name", ['f"; start: x', "f\nstart: /.*/", "f\\"])
def test_promise_8_names_cannot_write_grammar(tokenizer: Any, name: str) -> None:
    grammar = grammars.forced(
        PLAIN, (Tool(name, parameters={"type": "object", "const": {"k\n": "}"}}),), parallel=False
    )
    text = json.dumps({"name": name, "arguments": {"k\n": "}"}})
    assert accepts(tokenizer, grammar, text)
    assert not accepts(tokenizer, grammar, "x")


def test_requests_without_tools_need_no_parser() -> None:
    from adapters.text.tools.parsers import offered

    assert offered(TextRequest(tools=(F,), tool_choice="none")) == []
    assert offered(TextRequest(tools=(Tool("f"),)))[0]["function"]["parameters"]["type"] == "object"
