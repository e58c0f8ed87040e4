"""A request of the seam as vLLM's sampling parameters; what vLLM cannot do is refused here, never dropped."""

from typing import TYPE_CHECKING, Any

from adapters.base import TextRequest
from adapters.errors import ContextLengthExceeded

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams


def budget(request: TextRequest, prompt: Any, context: int) -> int:
    """How many tokens each answer to a prompt that `Prompts` made may have.

    Raises:
        ContextLengthExceeded: Prompt and answer do not fit in `context` tokens.
    """
    prompt_tokens = len(prompt["prompt_token_ids"])  # With all that stand for its images.
    room = context - prompt_tokens
    if room < 1:
        raise ContextLengthExceeded(
            f"This model's context is {context} tokens; the prompt alone has {prompt_tokens}. Shorten the messages.",
            param="messages" if request.prompt is None else "prompt",
        )
    if request.max_tokens is not None and request.max_tokens > room:
        raise ContextLengthExceeded(
            f"This model's context is {context} tokens, but the prompt has {prompt_tokens} and {request.max_tokens} "
            f"were requested for the answer. Shorten the messages, or ask for at most {room}.",
            param="max_tokens",
        )
    return room if request.max_tokens is None else request.max_tokens


def seed(request: TextRequest) -> int | None:
    """The seed as vLLM takes it, which reads -1 as none, and counts up for the other answers."""
    return None if request.seed is None else request.seed % 2**62  # clear of both ends of its 64 bits


def copies(request: TextRequest) -> int:
    """How many equal answers one written answer stands for: at temperature 0 all `n` are the same."""
    return request.n if request.temperature == 0 else 1


def parameters(
    request: TextRequest, max_tokens: int, structure: "StructuredOutputsParams | None", *, keep_special: bool
) -> "SamplingParams":
    """The parameters for this request; vLLM checks their ranges itself.

    Args:
        request: What to write.
        max_tokens: Of each answer, at least 1.
        structure: What the engine must hold the answers to.
        keep_special: Whether control tokens are to be part of the text, for a parser to find.

    Raises:
        VLLMValidationError: A value is out of range.
    """
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        n=request.n // copies(request),
        max_tokens=max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        stop=list(request.stop),
        seed=seed(request),
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        logit_bias=dict(request.logit_bias) or None,
        structured_outputs=structure,
        logprobs=request.logprobs,
        prompt_logprobs=request.logprobs if request.echo else None,
        skip_special_tokens=not keep_special,
        skip_clone=True,  # vLLM would copy them for each request, and nobody else has these.
        output_kind=RequestOutputKind.DELTA,
    )
