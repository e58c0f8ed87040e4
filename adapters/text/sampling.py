"""A request as vLLM's sampling parameters; what vLLM cannot do is refused here, never dropped."""

from typing import TYPE_CHECKING, Any

from adapters.base import TextRequest
from adapters.errors import ContextLengthExceeded, context_exceeded

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams


SMALLEST_TOP_P = 1e-6
"""For a `top_p` of 0, which vLLM does not accept: only the most likely token."""


def budget(request: TextRequest, prompt: Any, context: int) -> int:
    """How many tokens each answer to a prompt of `PromptBuilder` may have: at most what the context has left.

    Raises:
        ContextLengthExceeded: The prompt leaves no room in `context` tokens.
    """
    prompt_tokens = len(prompt["prompt_token_ids"])  # With all placeholders of its images.
    left = context - prompt_tokens
    if left < 1:
        param = "messages" if request.prompt is None else "prompt"
        raise ContextLengthExceeded(context_exceeded(context, prompt_tokens, param), param=param)
    return left if request.max_tokens is None else min(request.max_tokens, left)


def seed(request: TextRequest) -> int | None:
    """The seed for vLLM, which takes -1 for none, and adds one for each further answer."""
    return None if request.seed is None else request.seed % 2**62  # far from both limits of its 64 bits


def copies(request: TextRequest) -> int:
    """How many equal answers one generated answer stands for: at temperature 0 all `n` are the same."""
    return request.n if request.temperature == 0 else 1


def grammar_param(request: TextRequest) -> str | None:
    """The request field to name where the engine refuses a grammar."""
    if request.output != "text":
        return "response_format"
    return "tools" if request.tools else None


def parameters(
    request: TextRequest, max_tokens: int, structure: "StructuredOutputsParams | None", *, keep_special: bool
) -> "SamplingParams":
    """The parameters for this request. vLLM checks their ranges.

    Args:
        request: What to generate.
        max_tokens: Of each answer, at least 1.
        structure: The schema or grammar that the engine enforces.
        keep_special: Whether control tokens stay in the text, for a parser.

    Raises:
        VLLMValidationError: A value is out of range.
    """
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        n=request.n // copies(request),
        max_tokens=max_tokens,
        temperature=request.temperature,
        top_p=request.top_p or SMALLEST_TOP_P,
        top_k=request.top_k,
        min_p=request.min_p,
        repetition_penalty=request.repetition_penalty,
        ignore_eos=request.ignore_eos,
        min_tokens=min(request.min_tokens, max_tokens),
        stop_token_ids=list(request.stop_token_ids),
        stop=list(request.stop),
        seed=seed(request),
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        logit_bias=dict(request.logit_bias) or None,
        structured_outputs=structure,
        logprobs=request.logprobs,
        prompt_logprobs=request.logprobs if request.echo else None,
        skip_special_tokens=not keep_special,
        skip_clone=True,  # INTERNAL vllm==0.32: no copy for each request; these parameters are not shared.
        output_kind=RequestOutputKind.DELTA,
    )
