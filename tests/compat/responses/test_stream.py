"""From the seam's events to a response and its stream, in OpenAI's order."""

import json
import math
from typing import Any

import pytest
from openai.types.responses import Response
from openai.types.responses.response_stream_event import ResponseStreamEvent
from pydantic import TypeAdapter

from adapters.base import CandidateToken, TextDelta, TextDone, TokenLogprob, ToolCall, Usage
from adapters.errors import GenerationFailed
from compat.errors import wire_error
from compat.responses import request
from compat.responses.reply import render_error
from compat.responses.stream import ResponseWriter

EVENT = TypeAdapter[Any](ResponseStreamEvent)


def writer(**fields: Any) -> ResponseWriter:
    call = request.parse({"model": "m", "input": "x", "stream": True, **fields})
    return ResponseWriter(request.begin(call, "m"), streams=True, obfuscate=call.obfuscate)


def written(one: ResponseWriter, *events: Any) -> list[Any]:
    frames = [*one.created(), *one.began(), *(frame for event in events for frame in one.add(event))]
    return [read(frame) for frame in frames]


def read(frame: bytes) -> Any:
    """A frame as the SDK's own model, after its two lines were held against each other."""
    name, data = frame.decode().removesuffix("\n\n").split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert name == f"event: {event['type']}"
    return EVENT.validate_python(event)


def kinds(events: list[Any]) -> list[str]:
    return [event.type.removeprefix("response.") for event in events]


DONE = TextDone(Usage(3, 4, 1, 2), 10.0)


def test_thoughts_text_and_two_calls_come_one_after_the_other() -> None:
    events = written(
        writer(),
        TextDelta(reasoning="let "),
        TextDelta(reasoning="me"),
        TextDelta("I "),
        TextDelta("ask"),
        TextDelta(tool_calls=(ToolCall("c1", "f", '{"a"'),)),
        TextDelta(tool_calls=(ToolCall("", "", ": 1}"), ToolCall("c2", "g", "{}", 1))),
        TextDelta(finish_reason="tool_calls"),
        DONE,
    )
    assert kinds(events) == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta",
        "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    response = events[-1].response
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
    assert [item.status for item in response.output] == ["completed"] * 4
    assert response.output[0].content[0].text == "let me"
    assert response.output_text == "I ask"
    assert [(c.call_id, c.name, c.arguments) for c in response.output[2:]] == [
        ("c1", "f", '{"a": 1}'),
        ("c2", "g", "{}"),
    ]
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 4, 7)
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (1, 2)
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.id for item in done] == [item.id for item in response.output]


def test_too_few_tokens_leave_it_incomplete() -> None:
    for reason, told in (("length", "max_output_tokens"), ("content_filter", "content_filter")):
        events = written(writer(), TextDelta("half"), TextDelta(finish_reason=reason), DONE)
        response = events[-1].response
        assert kinds(events)[-1] == response.status == "incomplete"
        assert response.incomplete_details.reason == told
        assert response.output[0].status == "incomplete"
        assert response.completed_at is None


def test_nothing_said_is_an_empty_message() -> None:
    events = written(writer(), TextDelta(finish_reason="stop"), DONE)
    assert events[-1].response.output_text == ""
    assert len(events[-1].response.output) == 1


def test_a_failure_keeps_what_was_said_and_never_completes() -> None:
    one = writer()
    events = written(one, TextDelta("so "), TextDelta("far"))
    events += [read(frame) for frame in one.fail(wire_error(GenerationFailed("It broke.")))]
    assert kinds(events)[-1] == "failed"
    response = events[-1].response
    assert (response.status, response.error.code, response.error.message) == ("failed", "server_error", "It broke.")
    assert (response.output_text, response.output[0].status) == ("so far", "incomplete")
    assert one.finished


def test_a_cancelled_one_says_so_in_its_status() -> None:
    one = writer(background=True)
    (created, queued) = [read(frame) for frame in one.created()]
    assert (queued.type, created.response.status) == ("response.queued", "queued")
    (last,) = [read(frame) for frame in one.cancel()]
    assert (last.type, last.response.status, last.response.error) == ("response.failed", "cancelled", None)


def test_log_probabilities_ride_on_deltas_and_on_the_text() -> None:
    token = TokenLogprob(
        CandidateToken("é", "é".encode(), -0.5), (CandidateToken("e", b"e", -math.inf), CandidateToken("x", b"x", None))
    )
    events = written(writer(top_logprobs=2), TextDelta("é", logprobs=(token,)), TextDelta(logprobs=(token,)), DONE)
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [delta.logprobs[0].logprob for delta in deltas] == [-0.5, -0.5]
    kept = events[-1].response.output[0].content[0].logprobs
    assert [(one.token, one.bytes) for one in kept] == [("é", list("é".encode()))] * 2
    assert [top.logprob for top in kept[0].top_logprobs] == [-9999.0, -9999.0]


def test_obfuscation_makes_all_short_deltas_equally_long() -> None:
    one = writer(stream_options={"include_obfuscation": True})
    events = written(one, TextDelta("a"), TextDelta("quite long"), TextDelta("a piece of more than sixteen"), DONE)
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [len(event.delta) + len(event.obfuscation) for event in deltas] == [16, 16, 32]


def test_two_calls_of_one_id_are_told_apart() -> None:
    calls = (ToolCall("same", "f", "{}"), ToolCall("same", "f", "{}", 1))
    events = written(writer(), TextDelta(tool_calls=calls), DONE)
    first, second = events[-1].response.output
    assert first.call_id != second.call_id


def test_without_a_stream_nothing_is_encoded_and_the_response_is_the_same() -> None:
    call = request.parse({"model": "m", "input": "x"})
    one = ResponseWriter(request.begin(call, "m"), streams=False)
    assert [one.created(), one.began(), one.add(TextDelta("a")), one.add(DONE)] == [[], [], [], []]
    assert one.response.output[0].content[0].text == "a"


@pytest.mark.parametrize(("status", "code", "told"), [(400, "invalid_media", "invalid_image"), (400, "x", "invalid_prompt"), (503, "model_busy", "rate_limit_exceeded"), (500, None, "server_error")])  # fmt: skip
def test_errors_bear_codes_that_clients_know(status: int, code: str | None, told: str) -> None:
    from compat.errors import WireError

    shown = render_error(WireError(status, "m", "t", None, code))
    assert shown.code == told
    known = Response.model_fields["error"].annotation
    TypeAdapter(known).validate_python({"code": shown.code, "message": shown.message})
