"""What messages hold: text, media, tool calls; and how much of it was used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a sound or a video, encoded. Exactly one of `data` and `path` is set."""

    media_type: str
    """As in RFC 2046: "image/png". What the sender claims; `adapters/media/` believes only the bytes."""
    data: bytes = b""
    """The encoded bytes, for what is small."""
    path: str = ""
    """An absolute path that the server made up, for uploads that were streamed to disk. Never a user's text."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of a message that is text."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A piece of a message that is an image."""

    image: Media
    detail: Literal["auto", "low", "high"] = "auto"


Part = TextPart | ImagePart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool, as an assistant's message holds it, or a piece of one while it streams."""

    id: str
    name: str
    arguments: str
    """JSON text. In a stream: the next piece of it, with `id` and `name` filled in the first piece only."""
    index: int = 0
    """Which of the message's parallel calls this is."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask to have called."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON schema of the arguments object."""
    strict: bool = False
    """Whether the arguments must fit the schema also where the model chose freely to call."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    """Of a tool's message: the call that it answers."""
    name: str = ""
    """Who speaks, where several bear one role; chat templates may show it."""
    reasoning: str = ""
    """Of an assistant's message: what it thought before; chat templates may show it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's tokens, those that came from the engine's prefix cache."""
    reasoning_tokens: int = 0
    """Of the completion's tokens, those that were thought and not said."""

    def __add__(self, other: "Usage") -> "Usage":
        """Of two pieces of work together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )
