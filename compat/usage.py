"""`usage` and `timings`, as chat and text completions share them."""

from adapters.base import TextDone, Usage
from compat.wire import Timings, WireReply


class PromptTokensDetails(WireReply):
    """Of the prompt's tokens."""

    cached_tokens: int
    """Taken from the engine's prefix cache."""


class CompletionTokensDetails(WireReply):
    """Of the completion's tokens."""

    reasoning_tokens: int
    """Thought, not said."""


class CompletionUsage(WireReply):
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


def render_usage(done: TextDone) -> CompletionUsage:
    """OpenAI's usage object."""
    return render_tokens(done.usage)


def render_tokens(usage: Usage) -> CompletionUsage:
    """The same, of the tokens alone."""
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens),
    )


def render_timings(done: TextDone) -> Timings:
    """How long the model worked, and how fast it wrote."""
    seconds = done.generation_ms / 1000
    rate = round(done.usage.completion_tokens / seconds, 2) if seconds > 0 else None
    return Timings(generation_ms=round(done.generation_ms, 3), tokens_per_second=rate)
