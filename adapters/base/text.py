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
    """What to write. Either `messages` (chat) or `prompt` (plain continuation) is set."""

    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    """Text, or token ids."""
    max_tokens: int | None = 1024
    """At most this many new tokens; None: to the end of the context."""
    temperature: float = 0.7
    top_p: float = 0.9
    stop: tuple[str, ...] = ()
    """Generation ends before any of these; they are not part of the text."""
    seed: int | None = None
    n: int = 1
    """How many independent answers."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    """Token id to a bias of -100..100."""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """"auto", "none", "required", or the name of a tool."""
    parallel_tool_calls: bool = True
    """Whether one answer may hold several calls."""
    output: Literal["text", "json_object", "json_schema"] = "text"
    """What the text must be; with "json_schema", `schema` says more."""
    schema: Mapping[str, Any] | None = None
    logprobs: int | None = None
    """With each token its log-probability and so many (0..20) of the likeliest in its place; None: without."""
    echo: bool = False
    """Plain continuations: the prompt comes first in the text, and with `logprobs` its tokens' too."""
    reasoning_effort: str | None = None
    """"none", "minimal", "low", "medium", "high" or "xhigh", for models that think first; None: the model's own."""


@dataclass(frozen=True, slots=True)
class CandidateToken:
    """A token that could stand in one place, and how likely it is there."""

    token: str
    """Its text; where it is a piece of a character, with U+FFFD for what is missing."""
    data: bytes
    """Its bytes, which `token` may not hold whole."""
    logprob: float | None
    """Natural logarithm of its probability; None for a prompt's first token, which nothing precedes."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A written token with its likelihood, and the likeliest tokens of its place."""

    chosen: CandidateToken
    top: tuple[CandidateToken, ...] = ()
    """As many as were asked for, likeliest first."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of one answer."""

    text: str = ""
    index: int = 0
    """Which of the `n` answers."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    """Set on the last piece of this answer."""
    reasoning: str = ""
    """The next piece of what the model thinks before it answers."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of this piece's tokens, where they were asked for."""


@dataclass(frozen=True, slots=True)
class TextDone:
    """The last event of `TextAdapter.generate`."""

    usage: Usage
    generation_ms: float


TextEvent = TextDelta | TextDone


class Outlet:
    """A short cut for the pieces of one plain answer: past the events, as soon as each exists.

    Whoever renders the answer sets `encode` once the answer has begun; whoever sends it sets `send` while nothing else
    is on its way. An adapter may ignore all this and yield every piece as an event.
    """

    __slots__ = ("encode", "send")

    def __init__(self) -> None:
        """Closed."""
        self.encode: Callable[[str], bytes] | None = None
        """A piece of text as it goes out; None: not yet."""
        self.send: Callable[[bytes], bool] | None = None
        """Sends it at once, or says False where it cannot; None: not now."""

    def write(self, text: str) -> bool:
        """Whether the piece has gone out; else it must be yielded as an event, with all that comes before it can."""
        encode, send = self.encode, self.send
        return encode is not None and send is not None and send(encode(text))


class TextAdapter(Adapter):
    """A language model, with image input where `supports_images` is true (kind "vision")."""

    kind: ClassVar[Kind] = "text"

    @property
    @abstractmethod
    def supports_images(self) -> bool:
        """Whether image parts are understood."""

    @abstractmethod
    def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """Pieces of the answers as they are written, then one `TextDone`.

        Closing the generator stops the work within a second. Where an outlet is given and open, pieces of plain text
        may leave by it instead, never the first of an answer and never the last.

        Raises:
            ContextLengthExceeded: Prompt and answer do not fit.
            UnsupportedOption: An option of the request cannot be honoured.
            InvalidMedia: An image cannot be read.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """

    @abstractmethod
    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """Probabilities of the answers to each question. Raises as `generate` does."""
