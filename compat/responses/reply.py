"""What a response looks like on the wire: the object, its output items, and the events of its stream."""

from typing import Any, Literal

from adapters.base import TextDone, TokenLogprob
from compat.errors import WireError
from compat.wire import Timings, WireReply

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
IMPOSSIBLE = -9999.0
UNFINISHED: tuple[ResponseStatus, ...] = ("queued", "in_progress")


class TopLogprob(WireReply):
    """One of the likeliest tokens of a place."""

    token: str
    bytes: list[int]
    logprob: float


class Logprob(WireReply):
    """A written token and how likely it was."""

    token: str
    bytes: list[int]
    logprob: float
    top_logprobs: list[TopLogprob]


class ResponseOutputText(WireReply):
    """The text of an answer."""

    text: str
    logprobs: list[Logprob]
    annotations: list[Any]
    type: str = "output_text"


class ReasoningTextPart(WireReply):
    """What the model thought."""

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
    """What the model thought before it went on."""

    id: str
    status: ItemStatus
    content: list[ReasoningTextPart]
    summary: list[Any]
    type: str = "reasoning"


class ResponseFunctionToolCall(WireReply):
    """A call that the model asks for."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus
    type: str = "function_call"


OutputItem = ResponseOutputMessage | ResponseReasoningItem | ResponseFunctionToolCall


class InputTokensDetails(WireReply):
    """Of the tokens that were read."""

    cached_tokens: int
    cache_write_tokens: int = 0
    """Nobody pays for writing the cache here."""


class OutputTokensDetails(WireReply):
    """Of the tokens that were written."""

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
    """A response: what was asked for, and what came of it. `timings` is ours."""

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
    """Of `OutputItem`; items that come from the store are dictionaries."""
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    usage: ResponseUsage | None = None
    timings: Timings | None = None
    completed_at: int | None = None
    object: str = "response"
    service_tier: str = "default"


class ResponseDeleted(WireReply):
    """A response that is gone."""

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
    """How many tokens a model would read."""

    input_tokens: int
    object: str = "response.input_tokens"


class ResponseEvent(WireReply):
    """What all events of a stream bear."""

    type: str
    sequence_number: int
    """From 0, one more each time: where a stream that broke off can be taken up again."""


class ResponseLifecycleEvent(ResponseEvent):
    """response.created, queued, in_progress, completed, incomplete, failed: the whole response as it is now."""

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
    """response.output_text.delta, reasoning_text.delta and function_call_arguments.delta: the next piece."""

    item_id: str
    output_index: int
    delta: str
    content_index: int | None = None
    logprobs: list[Logprob] | None = None
    obfuscation: str | None = None
    """Random padding that hides the piece's length from who sees only the encrypted stream."""


class ResponseTextDoneEvent(ResponseEvent):
    """response.output_text.done."""

    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: list[Logprob]


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


def render_logprobs(tokens: tuple[TokenLogprob, ...]) -> list[Logprob]:
    """Log-probabilities as responses carry them."""
    return [
        Logprob(
            token=token.chosen.token,
            bytes=list(token.chosen.data),
            logprob=_finite(token.chosen.logprob),
            top_logprobs=[TopLogprob(top.token, list(top.data), _finite(top.logprob)) for top in token.top],
        )
        for token in tokens
    ]


def _finite(logprob: float | None) -> float:
    """What OpenAI writes, -9999, for a token that is next to impossible; JSON has no infinity."""
    return IMPOSSIBLE if logprob is None or logprob < IMPOSSIBLE else logprob


def render_error(error: WireError) -> ResponseError:
    """Why a response failed, under the nearest of the codes that OpenAI's clients know."""
    if error.code == "invalid_media":
        code = "invalid_image"
    elif error.code == "model_busy":
        code = "rate_limit_exceeded"
    else:
        code = "server_error" if error.status >= 500 else "invalid_prompt"
    return ResponseError(code=code, message=error.message, type=error.code or error.type, param=error.param)
