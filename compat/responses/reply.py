"""OpenAI's schemas of a response: the object, its output items, and the events of its stream."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from adapters.base import TextDone
from compat.errors import WireError
from compat.logprobs import ChatCompletionTokenLogprob
from compat.wire import Timings, WireReply

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
UNFINISHED: tuple[ResponseStatus, ...] = ("queued", "in_progress")


class ResponseOutputText(WireReply):
    """The text of an answer."""

    text: str
    logprobs: list[ChatCompletionTokenLogprob]
    annotations: list[Any]
    type: str = "output_text"


class ReasoningTextPart(WireReply):
    """The model's reasoning."""

    text: str
    type: str = "reasoning_text"


class ResponseOutputMessage(WireReply):
    """An answer."""

    id: str
    status: ItemStatus
    content: list[ResponseOutputText]
    type: str = "message"
    role: str = "assistant"


class ResponseReasoningItem(WireReply):
    """The model's reasoning."""

    id: str
    status: ItemStatus
    content: list[ReasoningTextPart]
    summary: list[Any]
    type: str = "reasoning"


class ResponseFunctionToolCall(WireReply):
    """A tool call of the model."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET
    type: str = "function_call"


class ResponseCustomToolCall(WireReply):
    """A call of a custom tool."""

    id: str
    call_id: str
    name: str
    input: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET
    type: str = "custom_tool_call"


CallItem = ResponseFunctionToolCall | ResponseCustomToolCall
OutputItem = ResponseOutputMessage | ResponseReasoningItem | ResponseFunctionToolCall | ResponseCustomToolCall


class InputTokensDetails(WireReply):
    """Details of `input_tokens`."""

    cached_tokens: int
    cache_write_tokens: int = 0
    """Writing the cache is not billed here."""


class OutputTokensDetails(WireReply):
    """Details of `output_tokens`."""

    reasoning_tokens: int


class ResponseUsage(WireReply):
    """Tokens of one response."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(WireReply):
    """Why a response failed; `code` is one of OpenAI's few, `type` and `param` say more."""

    code: str
    message: str
    type: str
    param: str | None


class IncompleteDetails(WireReply):
    """Why a response is incomplete."""

    reason: Literal["max_output_tokens", "content_filter"]


class Response(WireReply):
    """A response. `timings` is an extension."""

    id: str
    created_at: int
    status: ResponseStatus
    model: str
    background: bool
    store: bool
    instructions: str | None
    previous_response_id: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    prompt_cache_key: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    temperature: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: str
    user: str | None
    output: list[Any]
    """Of `OutputItem`; stored items are dictionaries."""
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    usage: ResponseUsage | None = None
    timings: Timings | None = None
    completed_at: int | None = None
    object: str = "response"
    service_tier: str = "default"
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


class ResponseDeleted(WireReply):
    """A deleted response."""

    id: str
    object: str = "response"
    deleted: bool = True


class ResponseItemList(WireReply):
    """A page of a response's input."""

    data: list[Any]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: str = "list"


class InputTokenCount(WireReply):
    """The number of prompt tokens."""

    input_tokens: int
    object: str = "response.input_tokens"


class ResponseEvent(WireReply):
    """The fields of all events."""

    type: str
    sequence_number: int
    """Consecutive from 0. A client can resume an interrupted stream after any of them."""


class ResponseLifecycleEvent(ResponseEvent):
    """response.created, queued, in_progress, completed, incomplete, failed: the response at that time."""

    response: Response


class ResponseOutputItemEvent(ResponseEvent):
    """response.output_item.added and .done."""

    output_index: int
    item: OutputItem


class ResponseContentPartEvent(ResponseEvent):
    """response.content_part.added and .done."""

    item_id: str
    output_index: int
    content_index: int
    part: ResponseOutputText | ReasoningTextPart


class ResponseDeltaEvent(ResponseEvent, omit_defaults=True):
    """response.output_text.delta, reasoning_text.delta, function_call_arguments.delta, custom_tool_call_input.delta."""

    item_id: str
    output_index: int
    delta: str
    content_index: int | None = None
    logprobs: list[ChatCompletionTokenLogprob] | None = None
    obfuscation: str | None = None
    """Random padding that hides the delta's length from observers of the encrypted stream."""


class ResponseTextDoneEvent(ResponseEvent):
    """response.output_text.done."""

    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: list[ChatCompletionTokenLogprob]


class ResponseReasoningTextDoneEvent(ResponseEvent):
    """response.reasoning_text.done."""

    item_id: str
    output_index: int
    content_index: int
    text: str


class ResponseFunctionCallArgumentsDoneEvent(ResponseEvent):
    """response.function_call_arguments.done."""

    item_id: str
    output_index: int
    name: str
    arguments: str


class ResponseCustomToolCallInputDoneEvent(ResponseEvent):
    """response.custom_tool_call_input.done."""

    item_id: str
    output_index: int
    input: str


def render_usage(done: TextDone) -> ResponseUsage:
    """OpenAI's usage object of responses."""
    usage = done.usage
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputTokensDetails(usage.cached_tokens),
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputTokensDetails(usage.reasoning_tokens),
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )


def render_error(error: WireError) -> ResponseError:
    """Why a response failed, with the closest of the codes that OpenAI's clients know."""
    if error.code == "invalid_media":
        code = "invalid_image"
    elif error.code == "model_busy":
        code = "rate_limit_exceeded"
    else:
        code = "server_error" if error.status >= 500 else "invalid_prompt"
    return ResponseError(code=code, message=error.message, type=error.code or error.type, param=error.param)
