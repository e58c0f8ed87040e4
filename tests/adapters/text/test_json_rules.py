"""The digits of numbers have an end, in all that is enforced, and all else of a schema is enforced as before."""

import json
from functools import cache
from typing import Any

import llguidance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.base import Tool
from adapters.text.tools import grammars, json_rules
from adapters.text.tools.schemas import enforceable

ENDLESS = "1" * 40
NODE: dict[str, Any] = {
    "$defs": {
        "Node": {
            "type": "object",
            "title": "Node",
            "properties": {
                "value": {"type": "number", "description": "of the node"},
                "below": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}], "default": None},
            },
            "required": ["value"],
        }
    },
    "$ref": "#/$defs/Node",
}
GOODS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "price": {"type": "number", "minimum": 0},
        "size": {"type": ["number", "null"]},
        "kind": {"enum": ["a", "b"]},
    },
    "required": ["name", "price"],
    "additionalProperties": False,
}
OPEN: dict[str, Any] = {"type": "object"}
NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 3}


@cache
def tokenizer() -> Any:
    return llguidance.LLTokenizer("byte")


def accepts_grammar(grammar: str, text: str) -> bool:
    matcher = llguidance.LLMatcher(tokenizer(), grammar)
    assert not matcher.get_error(), matcher.get_error() + grammar
    tokens = list(text.encode())
    return matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()


def accepts(schema: dict[str, Any], text: str, *, strict: bool = False) -> bool:
    whole = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(enforceable(schema, strict=strict)))
    return accepts_grammar(grammars.json_only(schema, strict=strict) or whole, text)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (GOODS, '{"name": "x", "price": 1}'),
        (GOODS, '{"name": "x", "price": 12.50, "size": -3e-10, "kind": "b"}'),
        (GOODS, '{"name": "x", "price": 0, "kind": "a"}'),
        (GOODS, '{"name": "x", "price": 6.02214076e23, "size": null}'),
        (NODE, '{"value": -1.5}'),
        (NODE, '{"value": 1, "below": [{"value": 2, "below": []}], "next": {"value": 3, "next": null}}'),
        (OPEN, "{}"),
        (OPEN, '{"a": [1, "x", null, true, {"b": {}}, []], "é\\"": -0.5e-3}'),
        (NUMBERS, "[1, -0.30000000000000004, 9007199254740993]"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, '{"a": 1, "b": 2.5}'),
        ({"type": "number", "minimum": 0, "maximum": 1}, "0.3333333333"),
        ({"type": "integer", "minimum": 5}, "7"),
        ({"type": "integer", "minimum": 10**17}, str(10**17 + 1)),
        ({"type": "integer", "maximum": -(10**17)}, str(-(10**17) - 1)),
        ({}, '[{"a": 1}, "x"]'),
    ],
)
def test_what_the_schema_allows_can_be_written(schema: dict[str, Any], text: str, strict: bool) -> None:
    assert accepts(schema, text, strict=strict)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (GOODS, '{"price": 1}'),
        (GOODS, '{"name": "x"}'),
        (GOODS, '{"price": 1, "name": "x"}'),
        (GOODS, '{"name": "x", "price": -1}'),
        (GOODS, '{"name": "x", "price": "1"}'),
        (GOODS, '{"name": "longer", "price": 1}'),
        (GOODS, '{"name": "x", "price": 1, "kind": "c"}'),
        (GOODS, '{"name": "x", "price": 1, "more": 2}'),
        (GOODS, '{"name": "x", "price": 1,}'),
        (GOODS, '{"name":"x","price":1}'),
        (GOODS, '{"name": "x", "price": 01}'),
        (GOODS, '{"name": "x", "price": 1.}'),
        (NODE, '{"value": 1, "next": 2}'),
        (NODE, '{"value": 1, "below": [{}]}'),
        (OPEN, "[]"),
        (OPEN, '{"a": 1, }'),
        (OPEN, "{1: 2}"),
        (NUMBERS, "[]"),
        (NUMBERS, "[1, 2, 3, 4]"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "1.5"),
        ({"type": "integer", "minimum": 5}, "4"),
    ],
)
def test_what_it_forbids_cannot(schema: dict[str, Any], text: str) -> None:
    assert not accepts(schema, text)


@pytest.mark.parametrize("digits", [ENDLESS, f"0.{ENDLESS}", f"1e{ENDLESS}", f"1.5E-{ENDLESS}", "1" * 20, "1e1000"])
@pytest.mark.parametrize(
    ("schema", "before"),
    [
        (GOODS, '{"name": "x", "price": '),
        (GOODS, '{"name": "x", "price": 1, "size": -'),
        (NODE, '{"value": 1, "below": [{"value": '),
        (OPEN, '{"a": {"b": ['),
        (NUMBERS, "[1, "),
        ({"type": "array"}, "["),
        ({"type": ["number", "string"]}, ""),
        ({"anyOf": [{"type": "number"}, {"type": "object", "properties": {"a": {"type": "number"}}}]}, '{"a": '),
        ({"type": "object", "additionalProperties": {"type": "number"}}, '{"a": '),
        ({"type": "number", "minimum": 0, "maximum": 1}, ""),
        ({"type": "integer", "minimum": 5}, ""),
        ({"type": ["integer", "null"]}, ""),
        ({}, "[[["),
    ],
)
def test_digits_have_an_end(schema: dict[str, Any], before: str, digits: str) -> None:
    grammar = grammars.json_only(schema, strict=False)
    whole = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(enforceable(schema, strict=False)))
    matcher = llguidance.LLMatcher(tokenizer(), grammar or whole)
    assert not matcher.get_error(), matcher.get_error()
    tokens = list(f"{before}{digits}".encode())
    assert len(before) <= matcher.validate_tokens(tokens) < len(tokens)


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.sampled_from([{"type": "number"}, {"type": "string"}, {"type": "boolean"}, OPEN, GOODS, {"const": 5}]),
        max_size=5,
    ),
    st.data(),
)
def test_promise_8_any_names_are_written_as_they_are(properties: dict[str, Any], data: st.DataObject) -> None:
    """Quotes, line breaks, control characters and Lark's own syntax in names of properties."""
    values: dict[str, Any] = {"number": 1.5, "string": "x", "boolean": True, "object": {}}
    required = data.draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    given_ = {
        name: {"name": "x", "price": 1} if one is GOODS else values.get(one.get("type"), 5)
        for name, one in properties.items()
        if name in required or data.draw(st.booleans())
    }
    assert accepts(schema, json.dumps(given_, ensure_ascii=False).replace("\x7f", "\\u007f"))
    if required:
        given_.pop(required[0])
        assert not accepts(schema, json.dumps(given_, ensure_ascii=False))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/properties/a", "properties": {"a": {"type": "number"}}},
        {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {"type": "number"}}, "patternProperties": {"^x": {}}},
        {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 2},
        {"type": "array", "items": {"type": "number"}, "maxItems": 10**9},
        {"type": "array", "items": {"type": "number"}, "uniqueItems": True},
        {"type": "object", "properties": {"a": {"allOf": [{"type": "number"}]}}},
        {"anyOf": []},
        {
            "anyOf": [
                {"type": "object", "properties": {"a": {"type": "number"}}},
                {"type": "object", "minProperties": 1},
            ]
        },
        {"type": "strange"},
        {"type": []},
    ],
)
def test_what_has_no_simple_form_is_left_to_the_library(schema: dict[str, Any]) -> None:
    assert json_rules.rules(schema, strict=False, prefix="json") is None


def test_calls_of_tools_have_numbers_with_an_end() -> None:
    tools = (Tool("f", parameters=GOODS), Tool("g", parameters=NODE), Tool("h", parameters={}))
    form = grammars.CallForm("", "", marked=False)
    grammar = grammars.forced(form, tools, parallel=False)
    for name, arguments, endless in (
        ("f", '{"name": "x", "price": 2}', '{"name": "x", "price": %s}'),
        ("g", '{"value": 2}', '{"value": %s}'),
        ("h", '{"any": [1]}', '{"any": [%s]}'),
    ):
        call = '{"name": "%s", "arguments": %s}'
        assert accepts_grammar(grammar, call % (name, arguments))
        assert not accepts_grammar(grammar, call % (name, endless % ENDLESS))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "minimum": -1e308, "maximum": 1e308},
        {"type": "number", "maximum": 1e19},
        {"type": "integer", "minimum": -(10**19)},
        {"type": "number", "multipleOf": 1e-12},
        {"type": "string", "minLength": 10**12},
        {"type": "string", "maxLength": 10**18},
    ],
    ids=json.dumps,
)
def test_a_schema_that_is_not_strict_never_fails_by_large_numbers(schema: dict[str, Any]) -> None:
    nested = {"type": "object", "properties": {"x": schema, "y": {"anyOf": [schema, {"type": "null"}]}}}
    prepared = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(enforceable(nested, strict=False)))
    assert not llguidance.LLMatcher.validate_grammar(prepared)
