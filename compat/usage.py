"""`usage` and `timings` of chat and text completions."""

from adapters.base import TextDone, Usage
from compat.wire import Timings, WireReply


class PromptTokensDetails(WireReply):
    """Details of `prompt_tokens`."""

    cached_tokens: int
    """Read from the engine's prefix cache."""


class CompletionTokensDetails(WireReply):
    """Details of `completion_tokens`."""

    reasoning_tokens: int
    """Tokens of the reasoning before the answer."""


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
    """OpenAI's usage object, from the token counts alone."""
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens),
    )


def render_timings(done: TextDone) -> Timings:
    """How long the model worked, and its tokens per second."""
    seconds = done.generation_ms / 1000
    rate = round(done.usage.completion_tokens / seconds, 2) if seconds > 0 else None
    return Timings(generation_ms=round(done.generation_ms, 3), tokens_per_second=rate)
