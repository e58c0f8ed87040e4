"""/v1/responses on the starter's real language model."""

import json

import openai
import pytest
from pydantic import BaseModel

MODEL = "qwen2.5-coder-0.5b-instruct"


class Sum(BaseModel):
    left: int
    right: int


def test_a_real_model_answers_remembers_fits_a_schema_and_calls(starter: openai.OpenAI) -> None:
    first = starter.responses.create(
        model=MODEL, input="My name is Zanzibar. Reply with OK.", temperature=0, max_output_tokens=12,
        instructions="You are terse.", top_logprobs=2,
    )  # fmt: skip
    assert first.output_text
    assert first.usage.output_tokens <= 12
    tokens = first.output[0].content[0].logprobs
    assert "".join(token.token for token in tokens).startswith(first.output_text[:2])
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens)
    counted = starter.responses.input_tokens.count(
        model=MODEL, input="My name is Zanzibar. Reply with OK.", instructions="You are terse."
    )
    assert counted.input_tokens == first.usage.input_tokens

    with starter.responses.stream(
        model=MODEL, input="What is my name?", previous_response_id=first.id, temperature=0, max_output_tokens=24
    ) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        second = stream.get_final_response()
    assert "".join(pieces) == second.output_text
    assert "Zanzibar" in second.output_text

    parsed = starter.responses.parse(
        model=MODEL, input="Add 2 and 40.", text_format=Sum, temperature=0, max_output_tokens=60
    )
    assert isinstance(parsed.output_parsed, Sum)

    tool = {
        "type": "function", "name": "get_weather", "description": "Weather of a city.", "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
    }  # fmt: skip
    asked = starter.responses.create(
        model=MODEL,
        input="What is the weather in Rome?",
        tools=[tool],
        tool_choice="required",
        temperature=0,
        max_output_tokens=80,
    )
    (call,) = [item for item in asked.output if item.type == "function_call"]
    assert call.name == "get_weather"
    assert set(json.loads(call.arguments)) == {"city"}
    told = starter.responses.create(
        model=MODEL, previous_response_id=asked.id, tools=[tool], temperature=0, max_output_tokens=60,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": '{"weather": "purple rain"}'}],
    )  # fmt: skip
    assert told.status in ("completed", "incomplete")
    assert told.output


def test_a_real_model_refuses_what_it_cannot_do_and_drops_what_does_not_fit(starter: openai.OpenAI) -> None:
    turn = [{"role": "user", "content": "apple " * 100}, {"role": "assistant", "content": "pear " * 100}]
    long = [*turn * 10, {"role": "user", "content": "Say hi."}]
    room = 32_768 - 1000  # what is left for the conversation is less than its 2000 tokens: the answer is bounded
    with starter.responses.create(
        model=MODEL, input=long, truncation="auto", max_output_tokens=room, stream=True
    ) as stream:
        assert any(event.type == "response.output_text.delta" for event in stream)
    broken = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "nonsense"}, "strict": True}}
    with pytest.raises(openai.BadRequestError) as refused:
        starter.responses.create(model=MODEL, input="x", text=broken, max_output_tokens=8)
    assert refused.value.param == "text.format"
    pixel = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    with pytest.raises(openai.BadRequestError) as refused:
        starter.responses.create(model=MODEL, input=[{"role": "user", "content": [pixel]}], max_output_tokens=8)
    assert refused.value.param.startswith("input")
