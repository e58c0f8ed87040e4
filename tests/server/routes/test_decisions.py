"""POST /v1/decisions through the official client, strict, on fakes; the reply's types are the SDK's."""

import base64
import json
from typing import Any

import httpx
import openai
import pytest
from support.servers import Running

from adapters.fake.images import png
from compat.decisions.questions import MAX_CHOICES, MAX_LEVELS
from compat.decisions.request import MAX_QUESTIONS

PICTURE = "data:image/png;base64," + base64.b64encode(png(16, 16, (1, 2, 3))).decode()
IMAGE = {"type": "input_image", "image_url": PICTURE}
FOX: dict[str, Any] = {"type": "predicate", "instructions": "Is there a fox?"}
COLOUR: dict[str, Any] = {
    "type": "choice",
    "name": "colour",
    "instructions": "What colour is it?",
    "choices": [{"value": "red"}, {"value": "blue", "description": "as the sky"}, {"value": "green"}],
}
FIT: dict[str, Any] = {
    "type": "score",
    "name": "fit",
    "instructions": "How well does it fit?",
    "levels": [{"label": "bad"}, {"label": "good", "description": "all is there"}, {"label": "perfect"}],
}


def seen(*questions: Any) -> dict[str, Any]:
    return {"model": "fake-vision", "input": [{"role": "user", "content": [IMAGE]}], "questions": list(questions)}


def test_all_three_kinds_are_answered_in_order_with_their_names(client: openai.OpenAI) -> None:
    decision = client.decisions.create(**seen(FIT, FOX, COLOUR))
    fit, fox, colour = decision.answers
    assert (fit.type, fox.type, colour.type) == ("score", "predicate", "choice")
    assert (fit.name, fox.name, colour.name) == ("fit", None, "colour")
    assert 0 <= fox.probability <= 1
    assert [one.value for one in colour.probabilities] == ["red", "blue", "green"]
    assert sum(one.probability for one in colour.probabilities) == pytest.approx(1)
    assert colour.confidence == max(one.probability for one in colour.probabilities)
    assert colour.choice == max(colour.probabilities, key=lambda one: one.probability).value
    assert [(one.label, one.value) for one in fit.probabilities] == [("bad", 0), ("good", 1), ("perfect", 2)]
    assert fit.score == pytest.approx(sum(one.value * one.probability for one in fit.probabilities))
    assert fit.confidence == max(one.probability for one in fit.probabilities)
    assert decision.model == "fake-vision"
    usage = decision.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert (
        usage.input_tokens_details.cached_tokens + usage.input_tokens_details.cache_write_tokens == usage.input_tokens
    )


def test_answers_do_not_depend_on_the_other_questions_or_their_order(client: openai.OpenAI) -> None:
    one_way = client.decisions.create(**seen(FOX, COLOUR, FIT)).answers
    other_way = client.decisions.create(**seen(FIT, COLOUR, FOX)).answers[::-1]
    alone = [client.decisions.create(**seen(question)).answers[0] for question in (FOX, COLOUR, FIT)]
    assert one_way == other_way == alone


def test_a_model_that_will_not_answer_refuses_that_question_only(client: openai.OpenAI) -> None:
    mute = {**COLOUR, "instructions": "[mute] What colour?"}
    refusal, fox = client.decisions.create(**seen(mute, FOX)).answers
    assert (refusal.type, refusal.name, fox.type) == ("refusal", "colour", "predicate")


def test_booleans_and_texts_that_read_alike_are_two_choices(client: openai.OpenAI) -> None:
    choices = [{"value": True}, {"value": "true"}, {"value": False}]
    said = {"true": True, '"true"': "true", "false": False}
    for written, value in said.items():
        question = {"type": "choice", "instructions": f"[answer={written}] Which?", "choices": choices}
        (answer,) = client.decisions.create(**seen(question)).answers
        assert (answer.choice, type(answer.choice)) == (value, type(value))
        assert [one.value for one in answer.probabilities] == [True, "true", False]


def test_texts_conversations_json_and_outputs_of_tools_are_evidence(client: openai.OpenAI) -> None:
    whole = client.decisions.create(model="fake-text", input="The fox is red.", questions=[FOX])
    assert whole.answers[0].type == "predicate"
    conversation: list[Any] = [
        {"role": "system", "content": "You look at foxes."},
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}], "type": "message"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Here:", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {**IMAGE, "detail": "original"},
                {"type": "input_json", "data": {"fox": [1, None, {"red": True}]}},
                {"type": "input_json", "data": [{"a": 1}, {}]},
            ],
        },
        {"role": "assistant", "phase": "commentary", "content": [{"type": "output_text", "text": "I look."}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "a den"}, IMAGE]},
        {"type": "custom_tool_call", "call_id": "a", "name": "sniff", "input": "hard", "namespace": "nose"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "fox"},
    ]
    decision = client.decisions.create(
        model="fake-vision",
        input=conversation,
        questions=[FOX],
        prompt_cache_key="mine",
        prompt_cache_options={"mode": "explicit", "ttl": "30m"},
        safety_identifier="me",
    )
    assert decision.answers[0].type == "predicate"


def test_a_question_may_show_images_and_json_of_its_own(client: openai.OpenAI) -> None:
    shown: Any = [
        {"type": "input_text", "text": "Is this logo in the picture?"},
        IMAGE,
        {"type": "input_json", "data": {"logo": "fox"}},
    ]
    plain = client.decisions.create(**seen({**FOX, "instructions": "Is this logo in the picture?"})).answers
    assert client.decisions.create(**seen({**FOX, "instructions": shown})).answers != plain
    assert client.decisions.create(**seen({**COLOUR, "instructions": [IMAGE]})).answers[0].type == "choice"


def test_four_hundred_questions_are_the_most(client: openai.OpenAI) -> None:
    decision = client.decisions.create(**seen(*[{**FOX, "name": str(number)} for number in range(MAX_QUESTIONS)]))
    assert [answer.name for answer in decision.answers] == [str(number) for number in range(MAX_QUESTIONS)]
    choices = [{"value": f"the number {number}"} for number in range(MAX_CHOICES)]
    (answer,) = client.decisions.create(**seen({**COLOUR, "choices": choices})).answers
    assert len(answer.probabilities) == MAX_CHOICES


def user(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


def asking(question: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"questions": [{**question, **changes}]}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"questions": []}, "questions"),
        ({"questions": [FOX] * (MAX_QUESTIONS + 1)}, "questions"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"role": "nobody", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
            "input[0].content[0].type",
        ),
        ({"input": [{"role": "system", "content": [IMAGE]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "function_call_output", "call_id": "a", "output": "x"}]}, "input[0].call_id"),
        (user({"type": "input_image", "file_id": "file-1"}), "input[0].content[0].image_url"),
        (user({**IMAGE, "image_url": "http://127.0.0.1/x.png"}), "input[0].content[0].image_url"),
        (user({**IMAGE, "image_url": "file:///etc/passwd"}), "input[0].content[0].image_url"),
        (user({**IMAGE, "image_url": "data:image/png;base64,?"}), "input[0].content[0].image_url"),
        (user({**IMAGE, "detail": "huge"}), "input[0].content[0].detail"),
        (user({"type": "input_json", "data": "text"}), "input[0].content[0].data"),
        (user({"type": "input_json", "data": json.loads('{"a":' * 33 + "1" + "}" * 33)}), "input[0].content[0].data"),
        (user({"type": "input_json", "data": {"a": list(range(10_001))}}), "input[0].content[0].data"),
        (user({"type": "input_json", "data": {"a": "x" * 262_144}}), "input[0].content[0].data"),
        (user(*[{"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}] * 5), "input"),
        ({"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}}, "prompt_cache_options.mode"),
        ({"prompt_cache_options": {"ttl": "1h"}}, "prompt_cache_options.ttl"),
        ({"safety_identifier": "x" * 65}, "safety_identifier"),
        (asking(FOX, instructions=""), "questions[0].instructions"),
        (asking(FOX, instructions=[]), "questions[0].instructions"),
        (asking(FOX, type="noul"), "questions[0].type"),
        (asking(COLOUR, choices=[{"value": "red"}]), "questions[0].choices"),
        (asking(COLOUR, choices=[{"value": f"{n}"} for n in range(MAX_CHOICES + 1)]), "questions[0].choices"),
        (asking(COLOUR, choices=[{"value": "red"}, {"value": "red"}]), "questions[0].choices[1].value"),
        (asking(COLOUR, choices=[{"value": "red"}, {"value": " red"}]), "questions[0].choices[1].value"),
        (asking(COLOUR, choices=[{"value": "red"}, {"value": " "}]), "questions[0].choices[1].value"),
        (asking(COLOUR, choices=[{"value": True}, {"value": True}]), "questions[0].choices[1].value"),
        (asking(COLOUR, choices=[{"value": 1}, {"value": 2}]), "questions[0].choices[0].value"),
        (asking(FIT, levels=[{"label": "x"}]), "questions[0].levels"),
        (asking(FIT, levels=[{"label": f"{n}"} for n in range(MAX_LEVELS + 1)]), "questions[0].levels"),
        (asking(FIT, levels=[{"label": "x"}, {"label": "x "}]), "questions[0].levels[1].label"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_promise_7_18_22_and_28_what_is_wrong_is_named(
    fake_server: Running, changes: dict[str, Any], param: str
) -> None:
    body = {**seen(FOX), **changes}
    reply = httpx.post(f"{fake_server.url}/v1/decisions", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


@pytest.mark.parametrize("model", ["fake-speech", "nothing"])
def test_a_model_must_be_there_and_read(fake_server: Running, model: str) -> None:
    reply = httpx.post(f"{fake_server.url}/v1/decisions", json={**seen(FOX), "model": model})
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]["param"] == "model"


def test_a_model_without_eyes_says_so(fake_server: Running) -> None:
    reply = httpx.post(f"{fake_server.url}/v1/decisions", json={**seen(FOX), "model": "fake-text"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input")


def test_an_input_beyond_the_context_says_so(fake_server: Running) -> None:
    body = {"model": "fake-text", "input": "word " * 5000, "questions": [FOX]}
    reply = httpx.post(f"{fake_server.url}/v1/decisions", json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_the_async_client_gets_the_same(fake_server: Running) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{fake_server.url}/v1", api_key="unused", max_retries=0, _strict_response_validation=True
    ) as sdk:
        decision = await sdk.decisions.create(**seen(FOX))
    assert decision.answers[0].type == "predicate"
