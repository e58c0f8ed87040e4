"""POST /v1/chat/completions: OpenAI's schema of the request, and its parse."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import TextRequest
from compat.chat.messages import ChatMessages, parse_messages
from compat.chat.sampling import MAX_TOP_LOGPROBS, SamplingFields
from compat.chat.tools import (
    ChatTools,
    FunctionChoice,
    Functions,
    ResponseFormat,
    ToolChoice,
    Tools,
    parse_functions,
    parse_output,
    parse_tools,
)
from compat.errors import invalid
from compat.wire import ignore, release, validate

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ChatCompletionRequest(SamplingFields):
    """The body of POST /v1/chat/completions. `docs/parameters.md` says what becomes of each field.

    Fields of type `Any` are wishes: they are accepted whatever they say, and have no effect.
    """

    messages: ChatMessages
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    functions: Functions | None = None
    function_call: FunctionChoice | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=2)] | None = None
    parallel_tool_calls: bool | None = None
    audio: None = None
    moderation: None = None
    metadata: Any = None
    prediction: Any = None
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    store: Any = None
    verbosity: Any = None
    web_search_options: Any = None


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A parsed request."""

    model: str
    request: TextRequest
    stream: bool
    include_usage: bool
    custom: frozenset[str] = frozenset()
    """Names of the tools whose calls are calls of custom tools."""
    legacy: bool = False
    """Whether a call is rendered as `function_call`, for a request with `functions`."""


def parse(body: Mapping[str, Any]) -> ChatCall:
    """The request behind a JSON body.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(ChatCompletionRequest, body)
    if None not in (wire.max_tokens, wire.max_completion_tokens) and wire.max_tokens != wire.max_completion_tokens:
        raise invalid("max_tokens", "differs from 'max_completion_tokens'; send one of them")
    if wire.top_logprobs is not None and not wire.logprobs:
        raise invalid("top_logprobs", "requires 'logprobs' to be true")
    if wire.web_search_options is not None:
        ignore("web_search_options")
    tools = _tools(wire)
    request = TextRequest(
        messages=parse_messages(wire.messages),
        max_tokens=wire.max_completion_tokens or wire.max_tokens,
        tools=tools.tools,
        tool_choice=tools.choice,
        parallel_tool_calls=wire.parallel_tool_calls is not False and not tools.legacy,
        **parse_output(wire.response_format),
        logprobs=(wire.top_logprobs or 0) if wire.logprobs else None,
        reasoning_effort=wire.reasoning_effort,
        **wire.sampling(),
    )
    release(wire.messages)
    return ChatCall(wire.model, request, bool(wire.stream), wire.include_usage, tools.custom, tools.legacy)


def _tools(wire: ChatCompletionRequest) -> ChatTools:
    if not wire.functions:
        if wire.function_call not in (None, "auto", "none"):
            raise invalid("function_call", "requires 'functions', which the request does not have")
        return parse_tools(wire.tools or [], wire.tool_choice)
    if wire.tools or wire.tool_choice is not None:
        raise invalid("functions", "cannot be combined with 'tools'; send one of them")
    return parse_functions(wire.functions, wire.function_call)
