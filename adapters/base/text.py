"""Language models: requests, events, and the adapter's class."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from adapters.base.adapter import Adapter, Kind
from adapters.base.content import Message, Tool, ToolCall, Usage
from adapters.base.judging import JudgeRequest, JudgeResult

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A request for text. Either `messages` (chat) or `prompt` (plain completion) is set."""

    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    """Text, or token ids."""
    max_tokens: int | None = 1024
    """Maximum number of new tokens; None: up to the end of the context."""
    temperature: float = 0.7
    top_p: float = 0.9
    stop: tuple[str, ...] = ()
    """Generation ends before any of these strings; they are not part of the text."""
    seed: int | None = None
    n: int = 1
    """Number of independent answers."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    """Token id to a bias of -100..100."""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """"auto", "none", "required", or the name of a tool."""
    parallel_tool_calls: bool = True
    """Whether one answer may have several calls."""
    output: Literal["text", "json_object", "json_schema"] = "text"
    """Format of the text; for "json_schema", that of `schema`."""
    schema: Mapping[str, Any] | None = None
    strict: bool = False
    """Whether all of `schema` must be enforced. Otherwise, what the model's backend cannot enforce is left out."""
    logprobs: int | None = None
    """Return each token's log-probability and this many (0..20) most likely alternatives; None: neither."""
    echo: bool = False
    """For completions: the text starts with the prompt, and `logprobs` with those of its tokens."""
    reasoning_effort: str | None = None
    """"none", "minimal", "low", "medium", "high", "xhigh" or "max"; None: the model's default. A wish: models that do
    not reason answer without reasoning."""
    suffix: str = ""
    """For completions: the text that follows the new text, for models that fill in the middle."""
    top_k: int = 0
    """Sample from this many most likely tokens only; 0: from all."""
    min_p: float = 0.0
    """Sample from tokens of at least this fraction of the highest probability only."""
    repetition_penalty: float = 1.0
    """Above 1: tokens of the prompt and of the text so far become less likely."""
    ignore_eos: bool = False
    """Whether to continue up to `max_tokens`, whatever the model says."""
    min_tokens: int = 0
    """The answer does not end before this many tokens."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end the answer."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Variables of the chat template, of those that the operator allows for the model."""
    continuous_usage: bool = False
    """Whether every `TextDelta` has the usage so far."""


@dataclass(frozen=True, slots=True)
class CandidateToken:
    """A candidate for one position of the text, and its log-probability."""

    token: str
    """Its text; U+FFFD stands for an incomplete character."""
    data: bytes
    """Its bytes, exact even where `token` is not."""
    logprob: float | None
    """Natural logarithm of its probability; None: the first token of a prompt."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token, and the most likely tokens of its position."""

    chosen: CandidateToken
    top: tuple[CandidateToken, ...] = ()
    """As many as requested, most likely first."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next chunk of one answer."""

    text: str = ""
    index: int = 0
    """Index among the `n` answers."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    """Set in the last chunk of this answer."""
    reasoning: str = ""
    """The next chunk of the model's reasoning, which precedes the answer."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of this chunk's tokens, if requested."""
    usage: Usage | None = None
    """So far, of all answers together, if requested."""


@dataclass(frozen=True, slots=True)
class TextDone:
    """The last event of `TextAdapter.generate`."""

    usage: Usage
    generation_ms: float


TextEvent = TextDelta | TextDone


class Outlet:
    """A direct channel for the text of one plain answer, which bypasses the events.

    The renderer of the answer sets `encode` once the answer has started; the sender sets `send` while its buffer is
    empty. An adapter may ignore the outlet and yield all text as events.
    """

    __slots__ = ("encode", "send")

    def __init__(self) -> None:
        """Creates a closed outlet."""
        self.encode: Callable[[str], bytes] | None = None
        """Encodes a chunk of text for sending; None: the answer has not started."""
        self.send: Callable[[bytes], bool] | None = None
        """Sends bytes at once, or returns False if it cannot; None: not now."""

    def write(self, text: str) -> bool:
        """Sends a chunk and returns whether it was sent; if not, it must be yielded as an event."""
        encode, send = self.encode, self.send
        return encode is not None and send is not None and send(encode(text))


class TextAdapter(Adapter):
    """A language model, with image input where `supports_images` is true (kind "vision")."""

    kind: ClassVar[Kind] = "text"

    @property
    @abstractmethod
    def supports_images(self) -> bool:
        """Whether messages may have image parts."""

    @abstractmethod
    def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """Chunks of the answers as they are generated, then one `TextDone`.

        Closing the generator stops the work within a second. If an outlet is given and open, chunks of plain text may
        be sent through it instead, but never the first or last of an answer.

        Raises:
            ContextLengthExceeded: Prompt and answer do not fit.
            UnsupportedOption: The model does not support an option of the request.
            InvalidMedia: An image cannot be read.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """

    @abstractmethod
    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """Probabilities of the options of each question. Raises as `generate`."""
