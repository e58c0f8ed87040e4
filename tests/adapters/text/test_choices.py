"""Engine outputs to events, with vLLM's own parsers, on a tokenizer that has the tokens around reasoning. No engine."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from support.servers import model_path

from adapters.base import TextRequest, Tool, ToolCall
from adapters.engines.vllm import preload
from adapters.errors import GenerationFailed, Interrupted, UnsupportedOption
from adapters.text.output.choices import Choices, finish_reason
from adapters.text.output.detokenizer import Detokenizer
from adapters.text.output.logprobs import Logprobs
from adapters.text.tools.parsers import ToolCalling, check_names

WEATHER = Tool("get_weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
REASONING = "<think>\nIt rains in Paris.\n</think>\n\n"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


@pytest.fixture(scope="module")
async def tokenizer() -> Any:
    from transformers import AutoTokenizer

    preload()
    found = AutoTokenizer.from_pretrained(await model_path("qwen2.5-coder-0.5b-instruct"))
    found.add_tokens(["<think>", "</think>", "<|python_tag|>"])
    return found


def read(tokenizer: Any, request: TextRequest, generated: str, tool_parser: str | None, reasoning: str | None) -> Any:
    """The one answer's text, reasoning, calls, finish reason and usage, as it would arrive token by token."""
    check_names(tool_parser, reasoning)
    tool_calling = ToolCalling(tokenizer, None, tool_parser, reasoning)
    tool_calling.check(request)
    choices = Choices(request, 1, [1, 2, 3], tool_calling, Logprobs(Detokenizer(tokenizer)))
    tokens = tokenizer.encode(generated, add_special_tokens=False)
    text, reasoned, calls, reason = "", "", dict[int, ToolCall](), None
    for at, token in enumerate(tokens):
        last = at == len(tokens) - 1
        answer = SimpleNamespace(
            index=0,
            text=tokenizer.decode([token]),
            token_ids=[token],
            logprobs=None,
            finish_reason="stop" if last else None,
        )
        output = SimpleNamespace(prompt_token_ids=[1, 2, 3], num_cached_tokens=2, outputs=[answer])
        for delta in choices.events(output):
            text += delta.text
            reasoned += delta.reasoning
            reason = delta.finish_reason
            for piece in delta.tool_calls:
                old = calls.get(piece.index, ToolCall("", "", ""))
                calls[piece.index] = ToolCall(
                    old.id or piece.id, old.name or piece.name, old.arguments + piece.arguments, piece.index
                )
    return text, reasoned, calls, reason, choices.usage


@pytest.mark.parametrize("parser", ["deepseek_r1", "qwen3"])
def test_reasoning_is_separated_from_the_answer(tokenizer: Any, parser: str) -> None:
    text, reasoned, calls, reason, usage = read(tokenizer, TextRequest(), REASONING + "Take a coat.", None, parser)
    assert text.strip() == "Take a coat."
    assert reasoned.strip() == "It rains in Paris."
    assert (calls, reason) == ({}, "stop")
    assert 3 <= usage.reasoning_tokens < usage.completion_tokens
    assert (usage.prompt_tokens, usage.cached_tokens) == (3, 2)


@pytest.mark.parametrize("reasoning", [None, "qwen3"])
def test_calls_in_hermes_form(tokenizer: Any, reasoning: str | None) -> None:
    generated = (REASONING if reasoning else "") + CALL + "\n" + CALL.replace("Paris", "Rome")
    text, reasoned, calls, reason, _ = read(tokenizer, TextRequest(tools=(WEATHER,)), generated, "hermes", reasoning)
    assert text.strip() == ""
    assert bool(reasoned) == bool(reasoning)
    assert reason == "tool_calls"
    assert [json.loads(calls[at].arguments) for at in (0, 1)] == [{"city": "Paris"}, {"city": "Rome"}]
    assert calls[0].name == "get_weather"
    assert len({call.id for call in calls.values()}) == 2


def test_an_answer_ends_after_its_one_call(tokenizer: Any) -> None:
    request = TextRequest(tools=(WEATHER,), parallel_tool_calls=False)
    _, _, calls, reason, _ = read(tokenizer, request, CALL + "\n" + CALL.replace("Paris", "Rome"), "hermes", None)
    assert list(calls) == [0]
    assert reason == "tool_calls"


def test_forced_calls_of_a_model_whose_form_has_no_grammar_come_as_json(tokenizer: Any) -> None:
    generated = '[{"name": "get_weather", "parameters": {"city": "Paris"}}]'
    request = TextRequest(tools=(WEATHER,), tool_choice="required")
    text, _, calls, reason, _ = read(tokenizer, request, generated, "llama3_json", None)
    assert (text, reason) == ("", "tool_calls")
    assert json.loads(calls[0].arguments) == {"city": "Paris"}
    structure = ToolCalling(tokenizer, None, "llama3_json", None).structure(request)
    assert structure is not None
    assert structure.json is not None
    with pytest.raises(UnsupportedOption) as caught:
        ToolCalling(tokenizer, None, "llama3_json", None).structure(TextRequest(tools=(WEATHER,), output="json_object"))
    assert caught.value.param == "response_format"


def test_a_model_without_parsers_refuses_tools_and_ignores_effort(tokenizer: Any) -> None:
    calling = ToolCalling(tokenizer, None, None, None)
    with pytest.raises(UnsupportedOption) as caught:
        calling.check(TextRequest(tools=(WEATHER,)))
    assert caught.value.param == "tools"
    calling.check(TextRequest(reasoning_effort="low"))


@pytest.mark.parametrize(
    ("reason", "request_", "error"),
    [
        ("abort", TextRequest(), Interrupted),
        ("error", TextRequest(output="json_object"), UnsupportedOption),
        ("error", TextRequest(tools=(WEATHER,)), UnsupportedOption),
        ("error", TextRequest(), GenerationFailed),
    ],
)
def test_promise_1_an_aborted_answer_is_an_error(reason: str, request_: TextRequest, error: type) -> None:
    with pytest.raises(error):
        finish_reason(reason, request_)
