"""A request of the seam as vLLM's sampling parameters; what vLLM cannot do is refused here, never dropped."""

from typing import TYPE_CHECKING

from adapters.base import TextRequest
from adapters.errors import ContextLengthExceeded, UnsupportedOption

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams


def check(request: TextRequest) -> None:
    """Refuses what this adapter cannot honour, before any work is done.

    Raises:
        UnsupportedOption: Tools that the model may call; a schema without its content.
    """
    if request.tools and request.tool_choice != "none":
        raise UnsupportedOption(
            'This model cannot call tools yet. Leave "tools" out, or set "tool_choice" to "none".', param="tools"
        )
    if request.output == "json_schema" and request.schema is None:
        raise UnsupportedOption("Output by a JSON schema needs the schema.", param="response_format")


def budget(request: TextRequest, prompt_tokens: int, context: int) -> int:
    """How many tokens each answer may have.

    Raises:
        ContextLengthExceeded: Prompt and answer do not fit in `context` tokens.
    """
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


def copies(request: TextRequest) -> int:
    """How many equal answers one written answer stands for: at temperature 0 all `n` are the same."""
    return request.n if request.temperature == 0 else 1


def parameters(request: TextRequest, max_tokens: int) -> "SamplingParams":
    """The parameters for this request; vLLM checks their ranges itself.

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
        # vLLM reads -1 as no seed, and counts up for the other answers: keep clear of both ends of its 64 bits.
        seed=None if request.seed is None else request.seed % 2**62,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        logit_bias=dict(request.logit_bias) or None,
        structured_outputs=_structure(request),
        output_kind=RequestOutputKind.DELTA,
    )


def _structure(request: TextRequest) -> "StructuredOutputsParams | None":
    from vllm.sampling_params import StructuredOutputsParams

    if request.output == "json_object":
        return StructuredOutputsParams(json_object=True)
    if request.output == "json_schema":
        return StructuredOutputsParams(json=dict(request.schema or {}))
    return None
