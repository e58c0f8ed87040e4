"""/v1/responses through the strict SDK, on the fakes: create, stream, parse, tools, chains, the stored object."""

import base64
import json
import time
from typing import Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel
from support.servers import Running

from adapters.fake.images import png

PIXEL = "data:image/png;base64," + base64.b64encode(png(2, 2, (1, 2, 3))).decode()
WEATHER = {
    "type": "function", "name": "weather", "description": "of a city", "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
}  # fmt: skip
IN_ROME = '[call=weather {"city": "Rome"}]'


def post(server: Running, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/responses", json={"model": "fake-text", "input": "x", **body}, timeout=60)


def test_a_response_comes_whole_and_repeats_what_was_asked(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "instructions": "be kind", "metadata": {"a": "b"}, "temperature": 0.5, "top_p": 0.5, "user": "me",
        "max_output_tokens": 100, "safety_identifier": "s", "prompt_cache_key": "k", "truncation": "disabled",
        "parallel_tool_calls": False, "max_tool_calls": 3, "top_logprobs": 1,
    }  # fmt: skip
    reply = client.responses.create(model="gpt-4o", input="hello big world", service_tier="auto", **asked)
    assert (reply.output_text, reply.status, reply.model, reply.error) == (
        "hello big world",
        "completed",
        "fake-text",
        None,
    )
    assert {name: getattr(reply, name) for name in asked} == asked
    assert reply.service_tier == "default"
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens == 6
    assert reply.model_extra["timings"]["generation_ms"] > 0
    assert client.responses.retrieve(reply.id) == reply
    assert reply._request_id.startswith("req_")


def test_the_streams_events_come_in_the_order_of_the_sdks_helper(client: openai.OpenAI) -> None:
    with client.responses.stream(model="fake-text", input="a b c") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.type.removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", *["output_text.delta"] * 3,
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(11))
    assert [event.snapshot for event in events if event.type == "response.output_text.delta"] == ["a", "a b", "a b c"]
    assert final.output_text == client.responses.retrieve(final.id).output_text == "a b c"


def test_a_stream_on_the_wire_names_its_events_and_has_no_done(fake_server: Running) -> None:
    reply = post(fake_server, input="a", stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    frames = reply.text.removesuffix("\n\n").split("\n\n")
    for frame in frames:
        name, data = frame.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    assert "[DONE]" not in reply.text
    assert json.loads(frames[-1].split("data: ")[1])["type"] == "response.completed"


def test_the_first_piece_leaves_before_the_second_exists(client: openai.OpenAI) -> None:
    begun = time.monotonic()
    with client.responses.create(model="fake-text", input="[delay_ms=300] b c d e f g h", stream=True) as stream:
        next(event for event in stream if event.type == "response.output_text.delta")
        assert time.monotonic() - begun < 2.0  # all take 2.4 s


async def test_the_asynchronous_client_does_it_all_too(fake_server: Running) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{fake_server.url}/v1", api_key="x", max_retries=0, _strict_response_validation=True
    ) as sdk:
        reply = await sdk.responses.create(model="fake-text", input="a b")
        assert (await sdk.responses.retrieve(reply.id)).output_text == "a b"
        async with sdk.responses.stream(model="fake-text", input="c d", previous_response_id=reply.id) as stream:
            assert (await stream.get_final_response()).output_text == "c d"
        items = [item async for item in sdk.responses.input_items.list(reply.id)]
        assert [item.content[0].text for item in items] == ["a b"]
        await sdk.responses.delete(reply.id)
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(reply.id)


class Place(BaseModel):
    city: str
    people: int


def test_a_pydantic_model_comes_back_parsed(client: openai.OpenAI) -> None:
    said = '{"city":"Rome","people":3}'
    reply = client.responses.parse(model="fake-text", input=said, text_format=Place)
    assert reply.output_parsed == Place(city="Rome", people=3)
    assert reply.text.format.type == "json_schema"
    assert reply.text.format.schema_["required"] == ["city", "people"]
    with client.responses.stream(model="fake-text", input=said, text_format=Place) as stream:
        assert stream.get_final_response().output_parsed == Place(city="Rome", people=3)
    assert (
        client.responses.create(model="fake-text", input="x", text={"format": {"type": "json_object"}}).text.format.type
        == "json_object"
    )


def test_a_tool_is_called_and_its_answer_taken(client: openai.OpenAI) -> None:
    for streamed in (False, True):
        if streamed:
            with client.responses.stream(model="fake-text", input=IN_ROME, tools=[WEATHER]) as stream:
                first = stream.get_final_response()
        else:
            first = client.responses.create(model="fake-text", input=IN_ROME, tools=[WEATHER])
        (call,) = first.output
        assert call.type == "function_call"
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Rome"})
        answer = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        stored = client.responses.create(
            model="fake-text", input=[answer], previous_response_id=first.id, tools=[WEATHER]
        )
        user: Any = {"role": "user", "content": IN_ROME}
        resent = client.responses.create(
            model="fake-text", input=[user, call, answer], tools=[WEATHER], store=False
        )  # the SDK's object, as it came
        assert stored.output_text == resent.output_text == "sunny"
    for dumped in (
        call.model_dump(exclude={"parsed_arguments"}),
        call.model_dump(exclude={"parsed_arguments"}, exclude_none=True),
    ):
        reply = client.responses.create(model="fake-text", input=[user, dumped, answer], store=False)
        assert reply.output_text == "sunny"


def test_choices_among_tools(client: openai.OpenAI) -> None:
    other = {**WEATHER, "name": "other"}
    for choice, called in (("none", False), ("required", True), ({"type": "function", "name": "weather"}, True)):
        reply = client.responses.create(model="fake-text", input=IN_ROME, tools=[WEATHER, other], tool_choice=choice)
        assert (reply.output[0].type == "function_call") is called
    allowed: Any = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "other"}]}
    reply = client.responses.create(model="fake-text", input="x", tools=[WEATHER, other], tool_choice=allowed)
    assert reply.tool_choice.tools == allowed["tools"]
    assert len(reply.tools) == 2


def test_a_conversation_goes_on_from_response_to_response(client: openai.OpenAI) -> None:
    first = client.responses.create(model="fake-text", input="one", instructions="count me too")
    second = client.responses.create(model="fake-text", input="two", previous_response_id=first.id)
    third = client.responses.create(model="fake-text", input="three", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError) as broken:  # said, and not silently shortened
        client.responses.create(model="fake-text", input="four", previous_response_id=third.id)
    assert (broken.value.param, broken.value.code) == ("previous_response_id", "previous_response_not_found")


def test_an_item_can_be_referred_to(client: openai.OpenAI) -> None:
    first = client.responses.create(model="fake-text", input="one two")
    for reference in ({"type": "item_reference", "id": first.output[0].id}, {"id": first.output[0].id}):
        reply = client.responses.create(model="fake-text", input=[reference])
        assert reply.output_text == "one two"  # the fake repeats what was said last
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="fake-text", input=[{"type": "item_reference", "id": "msg_nowhere"}])
    assert (missing.value.param, missing.value.code) == ("input[0].id", "item_not_found")


def test_images_are_seen_and_listed_without_their_bytes(client: openai.OpenAI) -> None:
    content: Any = [
        {"type": "input_text", "text": "what"},
        {"type": "input_image", "image_url": PIXEL, "detail": "high"},
    ]
    reply = client.responses.create(model="fake-vision", input=[{"role": "user", "content": content}])
    assert reply.output_text == "what"
    (plain,) = client.responses.input_items.list(reply.id)
    assert plain.content[1].image_url is None
    (full,) = client.responses.input_items.list(reply.id, include=["message.input_image.image_url"])
    assert full.content[1].image_url == PIXEL


def test_thoughts_are_an_item_of_their_own(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model="fake-text", input="[think=let me see] yes", reasoning={"effort": "high"}
    ) as stream:
        kinds = [event.type for event in stream]
        reply = stream.get_final_response()
    assert kinds.count("response.reasoning_text.delta") == 3
    assert kinds.index("response.reasoning_text.done") < kinds.index("response.output_text.delta")
    thought, said = reply.output
    assert (thought.type, thought.content[0].text) == ("reasoning", "let me see")
    assert said.type == "message"
    assert reply.usage.output_tokens_details.reasoning_tokens == 3
    assert reply.reasoning.effort == "high"
    again = client.responses.create(model="fake-text", input="so", previous_response_id=reply.id)
    assert again.output_text == "so"
    assert (
        client.responses.create(model="fake-text", input="[think=no] x", reasoning={"effort": "none"}).output[0].type
        == "message"
    )


def test_log_probabilities_when_they_are_asked_for(client: openai.OpenAI) -> None:
    plain = client.responses.create(model="fake-text", input="a b")
    assert plain.output[0].content[0].logprobs == []
    include: list[Literal["message.output_text.logprobs"]] = ["message.output_text.logprobs"]
    for fields, top in (
        ({"include": include}, 0),
        ({"include": include, "top_logprobs": 2}, 2),
        ({"top_logprobs": 1}, 1),
    ):
        reply = client.responses.create(model="fake-text", input="a b", **fields)
        tokens = reply.output[0].content[0].logprobs
        assert [token.token for token in tokens] == ["a", " b"]
        assert {len(token.top_logprobs) for token in tokens} == {top}
        assert client.responses.retrieve(reply.id, include=include) == reply
    with pytest.raises(openai.BadRequestError) as without:
        client.responses.retrieve(plain.id, include=include)
    assert without.value.param == "include"


def test_too_few_tokens_leave_it_incomplete(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="fake-text", input="a b c", max_output_tokens=2)
    assert (reply.status, reply.incomplete_details.reason, reply.output_text) == (
        "incomplete",
        "max_output_tokens",
        "a b",
    )
    events = list(client.responses.create(model="fake-text", input="a b c", max_output_tokens=2, stream=True))
    assert events[-1].type == "response.incomplete"
    assert (
        client.responses.create(model="fake-text", input="go on", previous_response_id=reply.id).output_text == "go on"
    )


def test_a_conversation_that_is_too_long_loses_its_oldest_turns(client: openai.OpenAI) -> None:
    turn = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    long: Any = [*turn * 30, {"role": "user", "content": "word " * 5000}]
    for truncation in ("auto", "disabled"):  # the last turn alone is too long, whatever is dropped
        with pytest.raises(openai.BadRequestError, match="4096") as refused:
            client.responses.create(model="fake-text", input=long, truncation=truncation)
        assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input")


def test_a_response_that_is_not_stored_is_nowhere(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="fake-text", input="x", store=False)
    assert reply.model_extra["store"] is False
    for look in (
        client.responses.retrieve,
        client.responses.delete,
        client.responses.cancel,
        client.responses.input_items.list,
    ):
        with pytest.raises(openai.NotFoundError) as missing:
            look(reply.id)
        assert (missing.value.code, missing.value.param) == ("response_not_found", "response_id")


def test_input_items_come_in_pages_both_ways(client: openai.OpenAI) -> None:
    said: Any = [{"role": "user", "content": str(number), "id": f"msg_{number}"} for number in range(45)]
    reply = client.responses.create(model="fake-text", input=said)
    for order, expected in (("asc", list(range(45))), ("desc", list(reversed(range(45))))):
        listed = client.responses.input_items.list(reply.id, order=order, limit=20)
        assert (len(listed.data), listed.has_more) == (20, True)
        assert [int(item.content[0].text) for item in listed] == expected  # over all pages
    last = client.responses.input_items.list(reply.id, order="asc", after="msg_40")
    assert ([item.id for item in last.data], last.has_more) == ([f"msg_{number}" for number in range(41, 45)], False)
    for fields, param in (
        ({"after": "msg_99"}, "after"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"include": ["everything"]}, "include"),
        ({"order": "up"}, "order"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.input_items.list(reply.id, **fields)
        assert refused.value.param == param


def test_tokens_are_counted_as_the_model_counts_them(client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(model="fake-text", input="one two three")
    assert counted.input_tokens == client.responses.create(model="fake-text", input="one two three").usage.input_tokens


def test_deleting_answers_as_openai_does(client: openai.OpenAI, fake_server: Running) -> None:
    reply = client.responses.create(model="fake-text", input="x")
    gone = httpx.delete(f"{fake_server.url}/v1/responses/{reply.id}")
    assert gone.json() == {"id": reply.id, "object": "response", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(reply.id)


def test_early_failure_is_a_status_and_late_failure_an_event(client: openai.OpenAI, fake_server: Running) -> None:
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as early:
            client.responses.create(model="fake-text", input="[fail_after=0]", stream=stream)
        assert early.value.code == "generation_failed"
    with pytest.raises(openai.InternalServerError):  # whole, or not at all
        client.responses.create(model="fake-text", input="[fail_after=2] a b c")
    events = list(client.responses.create(model="fake-text", input="[fail_after=2] a b c", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.message == "The model was told to fail."
    kept = client.responses.retrieve(events[-1].response.id)
    assert (kept.status, kept.output_text) == ("failed", "[fail_after=2] a")
    with pytest.raises(RuntimeError), client.responses.stream(model="fake-text", input="[fail_after=2] a b") as stream:
        stream.get_final_response()
    with pytest.raises(openai.BadRequestError) as unusable:
        client.responses.create(model="fake-text", input="x", previous_response_id=kept.id)
    assert unusable.value.code == "previous_response_not_finished"


def test_promise_10_a_stream_cut_by_its_client_is_cancelled_and_says_so(
    client: openai.OpenAI, fake_server: Running
) -> None:
    for stream in (True, False):
        body = {
            "model": "fake-text",
            "stream": stream,
            "input": "[delay_ms=50] [tokens=4000]",
            "metadata": {"cut": str(stream)},
        }
        if stream:
            with httpx.stream("POST", f"{fake_server.url}/v1/responses", json=body) as reply:
                lines = reply.iter_lines()
                next(lines)
                response_id = json.loads(next(lines).removeprefix("data: "))["response"]["id"]
            fake_server.wait_for_metric('muybridge_model_leases{model="fake-text"}', 0.0, 3)
            deadline = time.monotonic() + 5
            while (
                kept := client.responses.retrieve(response_id)
            ).status == "in_progress" and time.monotonic() < deadline:
                time.sleep(0.05)
            assert kept.status == "cancelled"
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{fake_server.url}/v1/responses", json=body, timeout=0.5)
            fake_server.wait_for_metric('muybridge_model_leases{model="fake-text"}', 0.0, 3)
