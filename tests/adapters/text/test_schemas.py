"""What llguidance enforces of a client's JSON schema: spacing, integers, and keywords that it does not know."""

import json
import time
from typing import Any

import llguidance
import llguidance.hf
import pytest
from support.servers import model_path

from adapters.text.tools.schemas import MAX_INTEGER, enforceable

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"pattern": {"type": "string"}, "ages": {"type": "array", "items": {"type": "integer"}}},
    "required": ["pattern", "ages"],
    "additionalProperties": False,
}
EXOTIC: list[dict[str, Any]] = [
    {"type": "array", "uniqueItems": True},
    {"type": "array", "contains": {"type": "string"}, "minContains": 1},
    {"type": "string", "pattern": "^(?=.*a).*$"},
    {"type": "string", "pattern": "(?<!a)b"},
    {"type": "string", "pattern": "(a)\\1"},
    {"type": "string", "pattern": "[a"},
    {"type": "string", "format": "colour"},
    {"not": {"type": "string"}},
    {"if": {"type": "string"}, "then": {"minLength": 3}, "else": {}},
    {"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]},
    {"type": "object", "propertyNames": {"pattern": "^a"}},
    {"type": "object", "dependentRequired": {"a": ["b"]}},
    {"type": "object", "dependencies": {"a": ["b"]}},
    {"type": "object", "minProperties": 2, "maxProperties": 5},
    {"type": "object", "unevaluatedProperties": False},
    {"type": "object", "patternProperties": {"^(?!x)": {"type": "string"}}},
    {"type": "object", "patternProperties": {"^a": {"type": "string"}, "b$": {"type": "integer"}}},
    {"$ref": "https://example.com/x.json"},
    {"$schema": "https://example.com/odd", "type": "object"},
    {"$dynamicRef": "#x"},
]


@pytest.fixture(scope="module")
async def tokenizer() -> Any:
    from transformers import AutoTokenizer

    found: Any = AutoTokenizer.from_pretrained(await model_path("qwen2.5-coder-0.5b-instruct"))
    found.llguidance = llguidance.hf.from_tokenizer(found)
    return found


def problem(schema: dict[str, Any]) -> str:
    return llguidance.LLMatcher.validate_grammar(llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema)))


def accepts(tokenizer: Any, schema: dict[str, Any], text: str) -> bool:
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
    matcher = llguidance.LLMatcher(tokenizer.llguidance, grammar)
    assert not matcher.get_error(), matcher.get_error()
    tokens = tokenizer.encode(text, add_special_tokens=False)
    return matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()


@pytest.mark.parametrize("strict", [True, False])
def test_json_is_spaced_as_python_writes_it(tokenizer: Any, strict: bool) -> None:
    schema = enforceable(PERSON, strict=strict)
    value = {"pattern": "a", "ages": [1, -2]}
    assert accepts(tokenizer, schema, json.dumps(value))
    assert not accepts(tokenizer, schema, json.dumps(value, separators=(",", ":")))
    assert not accepts(tokenizer, schema, json.dumps(value).replace(": ", ":  "))


@pytest.mark.parametrize(("number", "fits"), [(MAX_INTEGER, True), (-MAX_INTEGER, True), (10**17, False)])
def test_integers_have_an_end(tokenizer: Any, number: int, fits: bool) -> None:
    schema = enforceable(PERSON, strict=False)
    assert accepts(tokenizer, schema, json.dumps({"pattern": "a", "ages": [number]})) == fits
    own = {"type": "integer", "minimum": 10**17}
    assert accepts(tokenizer, enforceable(own, strict=False), str(10**17))


@pytest.mark.parametrize("schema", EXOTIC, ids=json.dumps)
def test_a_schema_that_is_not_strict_never_fails_by_an_exotic_keyword(schema: dict[str, Any]) -> None:
    nested = {"type": "object", "properties": {"x": schema, "y": {"anyOf": [schema, {"type": "null"}]}}}
    assert not problem(enforceable(nested, strict=False))
    assert not problem(enforceable({"type": "array", "items": schema, "$defs": {"z": schema}}, strict=False))


def test_what_is_left_out_does_not_loosen_the_rest(tokenizer: Any) -> None:
    text = {"type": "string", "pattern": "^(?=.*a).*$", "maxLength": 3}
    schema = {"type": "object", "properties": {"x": text}, "required": ["x"], "not": {}}
    assert accepts(tokenizer, enforceable(schema, strict=False), '{"x": "abc"}')
    assert not accepts(tokenizer, enforceable(schema, strict=False), '{"x": "abcd"}')
    assert not accepts(tokenizer, enforceable(schema, strict=False), "{}")


@pytest.mark.parametrize("schema", EXOTIC[:4], ids=json.dumps)
def test_a_strict_schema_fails_by_what_cannot_be_enforced(schema: dict[str, Any]) -> None:
    assert problem(enforceable(schema, strict=True))


def test_promise_28_a_schema_without_meaning_stays_an_error() -> None:
    for schema in ({"type": "strange"}, {"$ref": "#/nowhere"}, {"type": "string", "minLength": -5}):
        assert problem(enforceable(schema, strict=False))


def test_promise_28_many_patterns_of_names_are_not_compared_with_each_other() -> None:
    started = time.monotonic()
    schema = enforceable({"type": "object", "patternProperties": {f"^a{n}x$": {} for n in range(1000)}}, strict=False)
    assert time.monotonic() - started < 2
    assert schema["patternProperties"] == {}
