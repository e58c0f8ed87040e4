"""`usage` and `timings`, as chat and text completions share them."""

from adapters.base import TextDone
from compat.wire import Timings, WireReply


class PromptTokensDetails(WireReply):
    """Of the prompt's tokens."""

    cached_tokens: int
    """Taken from the engine's prefix cache."""


class CompletionUsage(WireReply):
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


def render_usage(done: TextDone) -> CompletionUsage:
    """OpenAI's usage object."""
    usage = done.usage
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
    )


def render_timings(done: TextDone) -> Timings:
    """How long the model worked, and how fast it wrote."""
    seconds = done.generation_ms / 1000
    rate = round(done.usage.completion_tokens / seconds, 2) if seconds > 0 else None
    return Timings(generation_ms=round(done.generation_ms, 3), tokens_per_second=rate)
