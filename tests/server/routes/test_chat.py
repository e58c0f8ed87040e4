"""POST /v1/chat/completions and /v1/completions, through the strict SDK, on the fake."""

import json
import time
from pathlib import Path

import httpx
import openai
import pytest
from support.servers import Running, serving


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_an_answer_comes_back_whole(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="fake-text", messages=say("hello big world"))
    assert reply.choices[0].message.content == "hello big world"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens == 6
    assert reply.model_extra["timings"]["generation_ms"] > 0
    assert reply._request_id.startswith("req_")


def test_an_alias_reaches_the_model_it_means(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="gpt-4o", messages=say("x")).model == "fake-text"


def test_a_stream_is_the_same_text_in_pieces(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="fake-text", messages=say("one two three"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    assert [c.choices[0].delta.role for c in chunks if c.choices][:2] == ["assistant", None]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 3


def test_the_first_token_leaves_before_the_second_exists(client: openai.OpenAI) -> None:
    begun = time.monotonic()
    stream = client.chat.completions.create(model="fake-text", messages=say("[delay_ms=300] b c d e"), stream=True)
    next(iter(stream))
    assert time.monotonic() - begun < 1.0  # all five take 1.5 s
    stream.close()


def test_n_answers_and_a_stop_sequence(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="fake-text", messages=say("a b c d"), n=3, stop=[" c"])
    assert [choice.message.content for choice in reply.choices] == ["a b"] * 3
    assert [choice.index for choice in reply.choices] == [0, 1, 2]


def test_max_tokens_ends_with_length(client: openai.OpenAI) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        reply = client.chat.completions.create(model="fake-text", messages=say("a b c"), **{name: 2})
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("a b", "length")


TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def test_a_tool_call_comes_whole_and_streamed(client: openai.OpenAI) -> None:
    prompt = say('[call=weather {"city": "Rome"}]')
    reply = client.chat.completions.create(model="fake-text", messages=prompt, tools=TOOLS)
    (call,) = reply.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Rome"})
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.choices[0].message.content is None
    with client.chat.completions.stream(model="fake-text", messages=prompt, tools=TOOLS) as stream:
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    assert (streamed.id, streamed.function.arguments) == (call.id, call.function.arguments)


def chunks_of(server: Running, **fields: object) -> list[dict]:
    body = {"model": "fake-text", "stream": True, **fields}
    text = httpx.post(f"{server.url}/v1/chat/completions", json=body).text
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: {")]


def test_a_chunk_has_one_entry_per_call_with_only_what_is_new(fake_server: Running) -> None:
    prompt = say('[call=weather {"city": "Rome", "days": 3}] [call=weather {"city": "Oslo"}]')
    entries: dict[int, list[dict]] = {}
    for chunk in chunks_of(fake_server, messages=prompt, tools=TOOLS):
        calls = chunk["choices"][0]["delta"].get("tool_calls", [])
        assert len({call["index"] for call in calls}) == len(calls)
        for call in calls:
            entries.setdefault(call["index"], []).append(call)
    for first, *later in entries.values():
        assert set(first) == {"index", "id", "type", "function"}
        assert set(first["function"]) == {"name", "arguments"}
        assert later
        assert all(set(entry) == {"index", "function"} and set(entry["function"]) == {"arguments"} for entry in later)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_the_fake_makes_a_call_that_is_required(client: openai.OpenAI, choice: object) -> None:
    reply = client.chat.completions.create(
        model="fake-text", messages=say("x"), tools=TOOLS, tool_choice=choice, response_format={"type": "json_object"}
    )
    assert reply.choices[0].message.tool_calls[0].function.name == "weather"
    assert reply.choices[0].finish_reason == ("tool_calls" if choice == "required" else "stop")


def test_functions_are_served_as_tools(client: openai.OpenAI, fake_server: Running) -> None:
    function = {"name": "weather", "parameters": {"type": "object"}}
    prompt = say('[call=weather {"city": "Rome"}]')
    for choice in ("auto", {"name": "weather"}):
        reply = client.chat.completions.create(
            model="fake-text", messages=prompt, functions=[function], function_call=choice
        )
        assert json.loads(reply.choices[0].message.function_call.arguments) == {"city": "Rome"}
        assert reply.choices[0].finish_reason == ("function_call" if choice == "auto" else "stop")
    deltas = [one["choices"][0]["delta"] for one in chunks_of(fake_server, messages=prompt, functions=[function])]
    pieces = [delta["function_call"] for delta in deltas if "function_call" in delta]
    assert [piece.get("name") for piece in pieces] == ["weather", *[None] * (len(pieces) - 1)]
    assert json.loads("".join(piece["arguments"] for piece in pieces)) == {"city": "Rome"}


def test_a_custom_tool_takes_text(client: openai.OpenAI, fake_server: Running) -> None:
    tool = {"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}}
    prompt = say('[call=patch {"input": "say \\"hi\\"\\n\\ud83e\\udd8a"}]')
    reply = client.chat.completions.create(model="fake-text", messages=prompt, tools=[tool])
    call = reply.choices[0].message.tool_calls[0]
    assert (call.type, call.custom.name, call.custom.input) == ("custom", "patch", 'say "hi"\n🦊')
    entries = [
        entry
        for chunk in chunks_of(fake_server, messages=prompt, tools=[tool])
        for entry in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert entries[0]["type"] == "custom"
    assert "".join(entry["custom"]["input"] for entry in entries) == 'say "hi"\n🦊'


def test_server_side_tools_are_left_out_and_named(fake_server: Running) -> None:
    body = {"model": "fake-text", "messages": say("x"), "tools": [{"type": "web_search", "filters": {}}, *TOOLS]}
    reply = httpx.post(f"{fake_server.url}/v1/chat/completions", json=body | {"web_search_options": {}})
    assert reply.status_code == 200, reply.text
    assert set(reply.headers["x-muybridge-ignored"].split(",")) == {"web_search_options", "tools.web_search"}


def test_usage_in_every_chunk(fake_server: Running) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = chunks_of(fake_server, messages=say("a b c"), stream_options=options)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [1, 2, 3, 3, 3]


def test_more_tokens_than_the_context_has_left_are_bounded(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="fake-text", messages=say("a b"), max_tokens=32_000)
    assert reply.choices[0].message.content == "a b"
    with pytest.raises(openai.BadRequestError, match=r"maximum context length is 4096 tokens") as caught:
        client.chat.completions.create(model="fake-text", messages=say("word " * 5000))
    assert caught.value.code == "context_length_exceeded"


def test_a_conversation_with_tool_results_and_images_is_understood(client: openai.OpenAI) -> None:
    pixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
    messages = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": pixel}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]  # fmt: skip
    reply = client.chat.completions.create(model="fake-vision", messages=messages)
    assert reply.choices[0].message.content == "sunny"


def test_an_answer_can_be_handed_back_as_it_came(client: openai.OpenAI) -> None:
    message = client.chat.completions.create(model="fake-text", messages=say("one")).choices[0].message
    for earlier in (message, message.model_dump()):
        messages = [*say("x"), earlier, *say("two")]
        assert client.chat.completions.create(model="fake-text", messages=messages).choices[0].message.content == "two"


def test_early_failure_is_a_status_and_late_failure_an_event(client: openai.OpenAI, fake_server: Running) -> None:
    with pytest.raises(openai.InternalServerError) as early:
        client.chat.completions.create(model="fake-text", messages=say("[fail_after=0]"), stream=True)
    assert early.value.code == "generation_failed"
    body = {"model": "fake-text", "stream": True, "messages": say("[fail_after=2] a b c")}
    reply = httpx.post(f"{fake_server.url}/v1/chat/completions", json=body)
    *frames, last = [line for line in reply.text.splitlines() if line]
    assert len(frames) == 2
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "generation_failed"
    assert "[DONE]" not in reply.text
    with pytest.raises(openai.APIError, match="told to fail"):
        list(client.chat.completions.create(model="fake-text", messages=say("[fail_after=2] a b c"), stream=True))


def test_promise_10_a_stream_cut_by_its_client_frees_its_slot_within_a_second(fake_server: Running) -> None:
    leases = 'muybridge_model_leases{model="fake-text"}'
    body = {"model": "fake-text", "stream": True, "messages": say("[delay_ms=20] [tokens=4000]"), "max_tokens": 4000}
    for _ in range(5):
        with httpx.stream("POST", f"{fake_server.url}/v1/chat/completions", json=body) as reply:
            lines = reply.iter_lines()  # kept: the connection closes with it
            next(lines)
            fake_server.wait_for_metric(leases, 1.0)
        fake_server.wait_for_metric(leases, 0.0)
    assert "Exception caught after response started" not in fake_server.log.read_text()


def test_promise_10_a_whole_reply_nobody_waits_for_is_cancelled_too(fake_server: Running) -> None:
    body = {"model": "fake-text", "messages": say("[delay_ms=1000] a b c d e f g h")}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{fake_server.url}/v1/chat/completions", json=body, timeout=0.3)
    fake_server.wait_for_metric('muybridge_model_leases{model="fake-text"}', 0.0)


def test_completions_whole_streamed_and_from_tokens(client: openai.OpenAI, fake_server: Running) -> None:
    whole = client.completions.create(model="fake-text", prompt="a b c")
    assert whole.choices[0].text == "a b c"
    # As OpenAI does, pieces before the last say `finish_reason: null`, which the SDK's strict mode does not know.
    lenient = fake_server.sdk(strict=False)
    stream = lenient.completions.create(model="fake-text", prompt="a b c", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "a b c"
    assert client.completions.create(model="fake-text", prompt=[5, 6]).choices[0].text == "5 6"
    assert client.completions.create(model="fake-text", prompt=["x y"]).choices[0].text == "x y"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"stop": ["a"] * 65}, "stop"),
        ({"stop": ""}, "stop"),
        ({"seed": 2**63}, None),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"presence_penalty": -2.5}, "presence_penalty"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "alien", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content"),
        ({"messages": "hello"}, "messages"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 1}, "logprobs"),
        ({"reasoning_effort": "a lot"}, "reasoning_effort"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"functions": [{"name": "f"}], "tools": TOOLS}, "functions"),
        ({"audio": {"voice": "a"}}, "audio"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"stop": "\0"}, "stop"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [*TOOLS, *TOOLS]}, "tools"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"tool_choice": {"type": "function", "function": {}}, "tools": TOOLS}, "tool_choice"),
        ({"messages": [{"role": "user", "content": 0}]}, "messages[0].content"),
        ({"model": None}, "model"),
        ({"model": "x" * 257}, "model"),
    ],
)
def test_promise_28_a_wrong_parameter_is_named(fake_server: Running, change: dict, param: str | None) -> None:
    body = {"model": "fake-text", "messages": say("x"), **change}
    reply = httpx.post(f"{fake_server.url}/v1/chat/completions", json=body)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param or (param and error["param"].startswith(param))


def test_promise_8_blanks_and_giant_scripts_do_not_stall_the_fake(client: openai.OpenAI) -> None:
    begun = time.monotonic()
    for text in (" " * 50_000, "[tokens=9999999]"):
        client.chat.completions.create(model="fake-text", messages=say(text), max_tokens=5)
    assert time.monotonic() - begun < 1


def test_a_remote_image_is_refused(client: openai.OpenAI) -> None:
    content = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}]
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="fake-vision", messages=[{"role": "user", "content": content}])
    assert error.value.param == "messages[0].content[0].image_url.url"


def test_too_long_a_prompt_is_refused_with_the_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="4096") as error:
        client.chat.completions.create(model="fake-text", messages=say("word " * 5000))
    assert error.value.code == "context_length_exceeded"


def test_unknown_models_and_models_of_another_kind(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no-such-model", messages=say("x"))
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as other:
        client.chat.completions.create(model="fake-image", messages=say("x"))
    assert other.value.param == "model"


def test_likelihoods_come_with_each_token(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="fake-text", messages=say("Grüße, world"), logprobs=True, top_logprobs=2
    )
    content = reply.choices[0].logprobs.content
    assert [one.token for one in content] == ["Grüße,", " world"]
    assert bytes(content[0].bytes).decode() == "Grüße,"
    assert all(one.logprob < 0 and len(one.top_logprobs) == 2 for one in content)
    stream = client.chat.completions.create(
        model="fake-text", messages=say("a b c"), logprobs=True, top_logprobs=1, stream=True
    )
    streamed = [one for chunk in stream if chunk.choices[0].logprobs for one in chunk.choices[0].logprobs.content]
    assert [one.token for one in streamed] == ["a", " b", " c"]


def test_thoughts_are_told_from_the_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="fake-text", messages=say("[think=two plus two] four"))
    message = reply.choices[0].message
    assert message.model_extra["reasoning_content"] == "two plus two"
    assert "four" in (message.content or "")
    assert reply.usage.completion_tokens_details.reasoning_tokens == 3
    stream = client.chat.completions.create(model="fake-text", messages=say("[think=two plus two] four"), stream=True)
    deltas = [chunk.choices[0].delta for chunk in stream]
    assert "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas) == "two plus two"
    silent = client.chat.completions.create(
        model="fake-text", messages=say("[think=two plus two] four"), reasoning_effort="none"
    )
    assert "reasoning_content" not in (silent.choices[0].message.model_extra or {})
    handed_back = [*say("x"), {"role": "assistant", **message.model_dump(exclude={"role"})}, *say("y")]
    assert client.chat.completions.create(model="fake-text", messages=handed_back).choices[0].message.content == "y"


def test_calls_stand_side_by_side_or_one_at_a_time(client: openai.OpenAI) -> None:
    said = say('[call=weather {"a": 1}] [call=weather {"a": 2}]')
    reply = client.chat.completions.create(model="fake-text", messages=said, tools=TOOLS)
    calls = reply.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"a": 1}, {"a": 2}]
    assert len({call.id for call in calls}) == 2
    pieces: dict[int, str] = {}
    for chunk in client.chat.completions.create(model="fake-text", messages=said, tools=TOOLS, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            pieces[call.index] = pieces.get(call.index, "") + (call.function.arguments or "")
    assert [json.loads(pieces[index]) for index in (0, 1)] == [{"a": 1}, {"a": 2}]
    alone = client.chat.completions.create(model="fake-text", messages=said, tools=TOOLS, parallel_tool_calls=False)
    assert len(alone.choices[0].message.tool_calls) == 1


def test_completions_of_several_prompts(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="fake-text", prompt=["a b", "c d e"], n=2, max_tokens=8)
    assert [(choice.index, choice.text) for choice in reply.choices] == list(
        enumerate(["a b", "a b", "c d e", "c d e"])
    )
    assert reply.usage.prompt_tokens == 5
    texts = dict.fromkeys(range(4), "")
    lenient = client.with_options()
    lenient._strict_response_validation = False  # OpenAI's own streams say finish_reason null, which strict refuses.
    for chunk in lenient.completions.create(model="fake-text", prompt=["a b", "c d e"], n=2, max_tokens=8, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert list(texts.values()) == ["a b", "a b", "c d e", "c d e"]


def test_a_failing_prompt_fails_all_of_them(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="4096"):
        client.completions.create(model="fake-text", prompt=["a b", "word " * 5000], max_tokens=8)


def test_an_echo_with_likelihoods(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="fake-text", prompt="a b", echo=True, logprobs=1, max_tokens=8)
    choice = reply.choices[0]
    assert choice.text == "a ba b"
    assert choice.logprobs.tokens == ["a b", "a", " b"]
    assert choice.logprobs.text_offset == [0, 3, 4]
    assert len(choice.logprobs.top_logprobs[1]) == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]] * 65}, "prompt"),
        ({"prompt": ["x"] * 64, "n": 3}, "n"),
        ({"prompt": [1.5]}, "prompt"),
        ({"prompt": [[1], "x"]}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"suffix": "x", "echo": True}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"echo": "yes"}, "echo"),
    ],
)
def test_promise_28_a_wrong_parameter_of_a_completion_is_named(fake_server: Running, change: dict, param: str) -> None:
    reply = httpx.post(f"{fake_server.url}/v1/completions", json={"model": "fake-text", "prompt": "x", **change})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"].startswith(param)


def test_unknown_fields_are_ignored_and_named(fake_server: Running) -> None:
    user_agent = {"user-agent": "names-unknown-fields"}
    body = {
        "model": "fake-text",
        "messages": [{"role": "user", "content": "x", "mood": 1}],
        "frob\nnicate": 1,
        "no": None,
    }
    for _ in range(2):
        reply = httpx.post(f"{fake_server.url}/v1/chat/completions", json=body, headers=user_agent)
        assert reply.status_code == 200, reply.text
        assert set(reply.headers["x-muybridge-ignored"].split(",")) == {"mood", "frob%0Anicate"}
    assert "x-muybridge-ignored" not in httpx.get(f"{fake_server.url}/v1/models").headers
    lines = [line for line in fake_server.log.read_text().splitlines() if "names-unknown-fields" in line]
    assert len(lines) == 1, "once per client"


def test_unknown_fields_can_be_refused(tmp_path: Path) -> None:
    earlier = [{"role": "user", "content": "x", "mood": 1}, {"role": "assistant", "content": "y", "mood": 1}]
    with serving(tmp_path, MUYBRIDGE_UNKNOWN_FIELDS="refuse") as running:
        for fields, param in (({"frobnicate": 1}, "frobnicate"), ({"messages": earlier[:1]}, "messages[0].mood")):
            body = {"model": "fake-text", "messages": say("x"), **fields}
            reply = httpx.post(f"{running.url}/v1/chat/completions", json=body)
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
        body = {"model": "fake-text", "messages": [*earlier, *say("z")], "frobnicate": None}
        assert httpx.post(f"{running.url}/v1/chat/completions", json=body).status_code == 200
