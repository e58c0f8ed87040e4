"""POST /v1/responses: schema and parse of the request, and the initial response."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from adapters.base import TextRequest
from adapters.errors import AdapterError
from compat.chat.sampling import EngineFields
from compat.errors import invalid, missing
from compat.responses.input import Item, ResponseInput, parse_input
from compat.responses.reply import Response
from compat.responses.tools import (
    Called,
    JsonSchemaFormat,
    ResponseTools,
    TextConfig,
    ToolChoice,
    Tools,
    parse_tools,
    render_text_config,
    render_tool,
    render_tool_choice,
)
from compat.wire import WireRequest, max_entries, new_id, release, validate

MAX_LABEL = 512
"""Characters of a label."""
LOGPROBS = "message.output_text.logprobs"
IMAGE_URLS = "message.input_image.image_url"
Includable = Literal[
    "message.output_text.logprobs",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "web_search_call.action.sources",
    "web_search_call.results",
]
"""Optional parts of a reply. Only the first two exist here: reasoning is not encrypted, and there are no such calls."""
INCLUDABLE: tuple[str, ...] = get_args(Includable)


Label = Annotated[str, Field(max_length=MAX_LABEL)]
Metadata = Annotated[dict[Annotated[str, Field(max_length=64)], Label], max_entries(16)]


class Reasoning(WireRequest):
    """Options of a reasoning model."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    context: Any = None
    mode: Any = None
    summary: Any = None
    """A wish, as are the other fields besides `effort`: replies contain the reasoning itself."""
    generate_summary: Any = None


class ResponseStreamOptions(WireRequest):
    """Options of the stream."""

    include_obfuscation: bool | None = None


class PromptFields(WireRequest):
    """The fields that determine the prompt, for creating a response and for counting its tokens."""

    model: Annotated[str, Field(max_length=256)]
    conversation: None = None
    input: ResponseInput | None = None
    instructions: str | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: Annotated[str, Field(max_length=256)] | None = None
    reasoning: Reasoning | None = None
    text: TextConfig | None = None
    tool_choice: ToolChoice | None = None
    tools: Tools | None = None
    truncation: Literal["auto", "disabled"] | None = None


class InputTokenCountRequest(PromptFields):
    """The body of POST /v1/responses/input_tokens."""

    personality: Any = None
    """A wish: models have no such setting."""


class ResponseCreateRequest(PromptFields, EngineFields):
    """The body of POST /v1/responses. `docs/parameters.md` says what becomes of each field.

    Fields of type `Any` are wishes: they are accepted whatever they say, and have no effect.
    """

    access_programs: Any = None
    background: bool | None = None
    background_options: Any = None
    client_metadata: Any = None
    context_management: Any = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    image: Any = None
    include: Annotated[list[Includable], Field(max_length=16)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    """Limits OpenAI's server-side tools; this server has none."""
    metadata: Metadata | None = None
    moderation: None = None
    prompt: None = None
    prompt_cache_key: Label | None = None
    """The caller's label; has no effect, since every prompt's prefix is cached."""
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    safety_identifier: Label | None = None
    """The caller's label; has no effect."""
    service_tier: Any = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    user: Label | None = None
    """The caller's label; has no effect."""


@dataclass(frozen=True, slots=True)
class ResponseCall:
    """A parsed request. Its conversation may have stored parts, so it is built later."""

    model: str
    items: tuple[Item, ...]
    previous_response_id: str | None
    instructions: str | None
    request: TextRequest
    """Without messages."""
    truncate: bool
    stream: bool = False
    background: bool = False
    store: bool = False
    obfuscate: bool = False
    called: Mapping[str, Called] = field(default_factory=dict[str, Called])
    """What calls of tools are, by the name that the model uses."""
    echoed: Mapping[str, Any] | None = None
    """The fields of `Response` that repeat the request."""


def parse(body: Mapping[str, Any]) -> ResponseCall:
    """The request behind a JSON body.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(ResponseCreateRequest, body)
    store = wire.store is not False
    if wire.background and not store:
        raise invalid("store", "must be true when 'background' is true")
    if wire.stream_options is not None and not wire.stream:
        raise invalid("stream_options", "requires 'stream' to be true")
    tools = parse_tools(wire.tools or (), wire.tool_choice)
    request = TextRequest(
        max_tokens=wire.max_output_tokens,
        presence_penalty=wire.presence_penalty or 0.0,
        frequency_penalty=wire.frequency_penalty or 0.0,
        temperature=1.0 if wire.temperature is None else wire.temperature,
        top_p=1.0 if wire.top_p is None else wire.top_p,
        logprobs=_logprobs(wire),
        **wire.engine_sampling(),
        **_prompt(wire, tools),
    )
    return ResponseCall(
        model=wire.model,
        items=_items(wire),
        previous_response_id=wire.previous_response_id,
        instructions=wire.instructions,
        request=request,
        truncate=wire.truncation == "auto",
        called=tools.called,
        stream=bool(wire.stream),
        background=bool(wire.background),
        store=store,
        obfuscate=wire.stream_options is not None and bool(wire.stream_options.include_obfuscation),
        echoed=_echoed(wire, request),
    )


def parse_count(body: Mapping[str, Any]) -> ResponseCall:
    """The request to count a prompt's tokens. Raises as `parse`."""
    wire = validate(InputTokenCountRequest, body)
    tools = parse_tools(wire.tools or (), wire.tool_choice)
    fields: dict[str, Any] = {**_prompt(wire, tools), "output": "text", "schema": None, "strict": False}
    request = TextRequest(max_tokens=1, temperature=0.0, top_p=1.0, **fields)
    return ResponseCall(
        model=wire.model,
        items=_items(wire),
        previous_response_id=wire.previous_response_id,
        instructions=wire.instructions,
        request=request,
        truncate=wire.truncation == "auto",
    )


def _items(wire: PromptFields) -> tuple[Item, ...]:
    items = parse_input(wire.input)
    if isinstance(wire.input, list):
        release(wire.input)
    if not items and wire.previous_response_id is None:
        raise missing("input")
    return items


def _prompt(wire: PromptFields, tools: ResponseTools) -> dict[str, Any]:
    """The shared fields as arguments of `TextRequest`."""
    form = None if wire.text is None else wire.text.format
    return {
        "tools": tools.tools,
        "tool_choice": tools.choice,
        "parallel_tool_calls": wire.parallel_tool_calls is not False,
        "output": "text" if form is None else form.type,
        "schema": form.schema_ if isinstance(form, JsonSchemaFormat) else None,
        "strict": isinstance(form, JsonSchemaFormat) and bool(form.strict),
        "reasoning_effort": None if wire.reasoning is None else wire.reasoning.effort,
    }


def _logprobs(wire: ResponseCreateRequest) -> int | None:
    if wire.top_logprobs or LOGPROBS in (wire.include or ()):
        return wire.top_logprobs or 0
    return None


def _echoed(wire: ResponseCreateRequest, request: TextRequest) -> dict[str, Any]:
    effort = None if wire.reasoning is None else wire.reasoning.effort
    return {
        "background": bool(wire.background),
        "store": wire.store is not False,
        "instructions": wire.instructions,
        "previous_response_id": wire.previous_response_id,
        "max_output_tokens": wire.max_output_tokens,
        "max_tool_calls": wire.max_tool_calls,
        "metadata": wire.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls,
        "prompt_cache_key": wire.prompt_cache_key,
        "reasoning": {"effort": effort, "summary": None},
        "safety_identifier": wire.safety_identifier,
        "temperature": request.temperature,
        "text": render_text_config(wire.text),
        "tool_choice": render_tool_choice(wire.tool_choice),
        "tools": [render_tool(tool) for tool in wire.tools or ()],
        "top_logprobs": wire.top_logprobs or 0,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "truncation": "auto" if wire.truncation == "auto" else "disabled",
        "user": wire.user,
    }


def begin(call: ResponseCall, model: str) -> Response:
    """The initial response: queued if it runs in the background."""
    return Response(
        id=new_id("resp_"),
        created_at=int(time.time()),
        status="queued" if call.background else "in_progress",
        model=model,
        output=[],
        **(call.echoed or {}),
    )


def is_id(text: str) -> bool:
    """Whether a text has the form of a response id; others are not looked up."""
    return _ID.fullmatch(text) is not None


_ID = re.compile(r"resp_[0-9a-f]{30}")

PARAMS = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "logprobs": "top_logprobs",
    "response_format": "text.format",
    "schema": "text.format.schema",
    "reasoning_effort": "reasoning.effort",
}
"""From the names in adapters' errors, which are those of chat, to this route's names."""


def own_param(error: AdapterError) -> AdapterError:
    """The same error with this route's name of the field."""
    name = re.split(r"[.\[]", error.param or "", maxsplit=1)[0]
    if name in PARAMS:  # the rest of the path counts messages, or is nested differently
        error.param = PARAMS[name]
    return error
