"""Tool calls, output formats and log-probabilities on vLLM with real weights. One engine for all of this file."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.servers import model_path

from adapters.base import Message, ModelFiles, TextDelta, TextDone, TextPart, TextRequest, Tool, ToolCall
from adapters.errors import ModelLoadFailed
from adapters.text.vllm_text import VllmText

WEATHER = Tool(
    "get_weather",
    "Get the current weather in a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
ADD = Tool(
    "add",
    "Add two numbers",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)
ASK = "What is the weather in Paris?"


def user(text: str) -> Message:
    return Message("user", (TextPart(text),))


def asking(text: str, **fields: Any) -> TextRequest:
    return TextRequest(**{"messages": (user(text),), "temperature": 0, "max_tokens": 60} | fields)


@pytest.fixture(scope="module")
def model(vllm_text: VllmText) -> VllmText:
    return vllm_text


async def answered(model: VllmText, request: TextRequest) -> tuple[str, dict[int, ToolCall], str | None, list[Any]]:
    """Text, calls, finish reason and logprobs of the one answer."""
    text, calls, reason, logprobs = "", dict[int, ToolCall](), None, list[Any]()
    async for event in model.generate(request):
        if isinstance(event, TextDelta):
            assert reason is None, "nothing follows the end of an answer"
            text += event.text
            logprobs += event.logprobs
            reason = event.finish_reason
            for piece in event.tool_calls:
                assert (piece.index in calls) == (not piece.id), "id and name come first, and once"
                before = calls.get(piece.index, ToolCall("", "", "", piece.index))
                calls[piece.index] = ToolCall(
                    before.id or piece.id, before.name or piece.name, before.arguments + piece.arguments, piece.index
                )
    return text, calls, reason, logprobs


async def test_it_calls_a_tool_by_itself_and_answers_with_its_result(model: VllmText):
    text, calls, reason, _ = await answered(model, asking(ASK, tools=(WEATHER, ADD)))
    assert (text, reason, calls[0].name) == ("", "tool_calls", "get_weather")
    assert json.loads(calls[0].arguments) == {"city": "Paris"}
    result = Message("tool", (TextPart("18 degrees, light rain"),), tool_call_id=calls[0].id)
    conversation = (user(ASK), Message("assistant", tool_calls=(calls[0],)), result)
    text, calls, reason, _ = await answered(model, asking("", messages=conversation, tools=(WEATHER, ADD)))
    assert "18" in text
    assert (calls, reason) == ({}, "stop")


async def test_it_answers_in_words_where_no_tool_is_needed(model: VllmText):
    text, calls, reason, _ = await answered(model, asking("Hello, who are you?", tools=(WEATHER,)))
    assert len(text) > 10
    assert (calls, reason) == ({}, "stop")


@pytest.mark.parametrize("parallel", [True, False])
async def test_a_call_can_be_required(model: VllmText, parallel: bool):
    request = asking("Hello!", tools=(WEATHER, ADD), tool_choice="required", parallel_tool_calls=parallel)
    text, calls, _, _ = await answered(model, replace(request, max_tokens=200))
    assert text == ""
    assert 1 <= len(calls) <= (16 if parallel else 1)
    assert {call.name for call in calls.values()} <= {"get_weather", "add"}
    assert all(isinstance(json.loads(call.arguments), dict) for call in calls.values())


async def test_a_call_can_be_asked_for_by_name_and_fits_its_schema(model: VllmText):
    _, calls, reason, _ = await answered(model, asking(ASK, tools=(WEATHER, ADD), tool_choice="add"))
    assert (len(calls), calls[0].name, reason) == (1, "add", "stop")
    arguments = json.loads(calls[0].arguments)
    assert arguments.keys() == {"a", "b"}
    assert all(isinstance(value, int) for value in arguments.values())


async def test_strict_arguments_fit_also_where_the_model_chose(model: VllmText):
    odd = {"type": "object", "properties": {"city": {"enum": ["Oslo"]}}, "required": ["city"]}
    strict = replace(WEATHER, parameters={**odd, "additionalProperties": False}, strict=True)
    _, calls, reason, _ = await answered(model, asking(ASK, tools=(strict,)))
    assert reason == "tool_calls"
    assert json.loads(calls[0].arguments) == {"city": "Oslo"}
    text, calls, _, _ = await answered(model, asking("Hello, who are you?", tools=(strict,)))
    assert len(text) > 10
    assert not calls


async def test_tools_and_a_schema_of_the_answer_go_together(model: VllmText):
    schema = {
        "type": "object",
        "properties": {"sky": {"type": "string", "maxLength": 20}},
        "required": ["sky"],
        "additionalProperties": False,
    }
    result = Message("tool", (TextPart("18 degrees, light rain"),), tool_call_id="call_1")
    call = Message("assistant", tool_calls=(ToolCall("call_1", "get_weather", '{"city": "Paris"}'),))
    request = asking("", messages=(user(ASK), call, result), tools=(WEATHER,), output="json_schema", schema=schema)
    text, calls, _, _ = await answered(model, request)
    assert calls or json.loads(text).keys() == {"sky"}


async def test_logprobs_are_those_of_the_chosen_tokens(model: VllmText):
    text, _, _, logprobs = await answered(model, asking("Say: Grüße! 你好", logprobs=3, max_tokens=12))
    assert b"".join(one.chosen.data for one in logprobs).decode(errors="replace").startswith(text)
    for one in logprobs:
        assert len(one.top) == 3
        assert one.chosen.logprob == one.top[0].logprob  # At temperature 0 the likeliest is chosen.
        assert sum(math.exp(other.logprob or 0) for other in one.top) <= 1.001


async def test_logprobs_of_the_prompt(model: VllmText):
    request = TextRequest(prompt="The capital of France is", echo=True, logprobs=2, max_tokens=0, temperature=0)
    *deltas, done = [event async for event in model.generate(request)]
    assert isinstance(done, TextDone)
    assert done.usage.completion_tokens == 0
    assert [delta.text for delta in deltas] == ["The capital of France is"]
    logprobs = deltas[0].logprobs
    assert b"".join(one.chosen.data for one in logprobs) == b"The capital of France is"
    assert logprobs[0].chosen.logprob is None
    assert all(-20 < one.chosen.logprob < 0 for one in logprobs[1:])


async def test_parsers_that_vllm_does_not_have_are_refused(tmp_path: Path):
    del tmp_path
    path = await model_path("qwen2.5-coder-0.5b-instruct")
    for options in ({"chat_template": "../calling"}, {"chat_template": "nowhere"}, {"chat_template": "/nowhere"}):
        with pytest.raises(ModelLoadFailed, match="chat_template"):
            await VllmText.load(ModelFiles("q", "vllm", str(path), options), lambda _: None)
    for field in ("tool_call_parser", "reasoning_parser"):
        with pytest.raises(ModelLoadFailed, match="no_such_parser"):
            await VllmText.load(ModelFiles("q", "vllm", str(path), {field: "no_such_parser"}), lambda _: None)
