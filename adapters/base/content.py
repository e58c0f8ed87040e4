"""Content of messages: text, media and tool calls; and token usage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Media:
    """An encoded image, audio or video. Exactly one of `data` and `path` is set."""

    media_type: str
    """As in RFC 2046: "image/png". Claimed by the sender; `adapters/media/` decodes by the bytes alone."""
    data: bytes = b""
    """The encoded bytes, for small media."""
    path: str = ""
    """An absolute path chosen by the server, for uploads that were streamed to disk. Never a path from a client."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """A text part of a message."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image part of a message."""

    image: Media
    detail: Literal["auto", "low", "high"] = "auto"
    earlier: bool = False
    """Whether it belongs to an earlier message: where it cannot be shown, `IMAGE_TEXT` takes its place."""


IMAGE_TEXT = "[image]"
"""Stands for an image of an earlier message that cannot be shown."""
Part = TextPart | ImagePart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call in an assistant's message, or a chunk of one in a stream."""

    id: str
    name: str
    arguments: str
    """JSON text. In a stream: the next chunk of it; `id` and `name` are set in the first chunk only."""
    index: int = 0
    """Index among the message's parallel calls."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON schema of the arguments object."""
    strict: bool = False
    """Whether arguments must match the schema even if the model chose to call the tool by itself."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    """In a tool's message: the call that it answers."""
    name: str = ""
    """Name of the author, to distinguish authors of one role; chat templates may show it."""
    reasoning: str = ""
    """In an assistant's message: its reasoning; chat templates may show it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Numbers of tokens read and generated."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's tokens, those that came from the engine's prefix cache."""
    reasoning_tokens: int = 0
    """Of the completion's tokens, those of the reasoning."""

    def __add__(self, other: "Usage") -> "Usage":
        """The sum of two usages."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )
