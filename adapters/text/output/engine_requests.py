"""Requests to vLLM's engine, which vLLM validates; a request like an earlier one is not validated again.

Validation takes as long as rendering and tokenizing a short conversation. Most requests differ from earlier ones in
prompt, seed and length only, and these need no validation here: the token ids come from the tokenizer, and
`sampling.budget` has limited the length to the context.
"""

import time
import uuid
from collections import OrderedDict
from copy import copy
from itertools import count
from typing import TYPE_CHECKING, Any

from adapters.base import TextRequest
from adapters.text import sampling

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams
    from vllm.v1.engine.async_llm import AsyncLLM

MAX_KNOWN = 256
"""Sampling parameters that are kept."""


class EngineRequests:
    """Creates the requests to one running engine."""

    def __init__(self, llm: "AsyncLLM") -> None:
        """Starts with no parameters kept."""
        self._llm = llm
        self._known: OrderedDict[tuple[float | bool, ...], SamplingParams] = OrderedDict()
        self._names = map(f"{uuid.uuid4().hex}-%d".__mod__, count())

    async def checked(self, prompt: Any, parameters: "SamplingParams") -> Any:
        """A validated EngineCoreRequest. Grammars are compiled outside the event loop.

        Args:
            prompt: Of `PromptBuilder`.
            parameters: Of `sampling.parameters`.

        Raises:
            VLLMValidationError: vLLM refuses the request.
        """
        tasks = await self._llm.get_supported_tasks()
        processor, name = self._llm.input_processor, next(self._names)
        if parameters.structured_outputs is not None:
            return await processor.process_inputs_async(name, prompt, parameters, supported_tasks=tasks)
        return processor.process_inputs(name, prompt, parameters, supported_tasks=tasks)

    async def text(
        self,
        request: TextRequest,
        prompt: Any,
        max_tokens: int,
        structure: "StructuredOutputsParams | None",
        *,
        detokenize: bool,
    ) -> Any:
        """An EngineCoreRequest for one answer of text only.

        Args:
            request: What to generate.
            prompt: Of `PromptBuilder`.
            max_tokens: Of `sampling.budget`.
            structure: The schema or grammar that the engine enforces.
            detokenize: Whether vLLM turns the tokens into text.

        Raises:
            VLLMValidationError: vLLM refuses the request.
        """
        key = (
            request.temperature,
            request.top_p,
            request.presence_penalty,
            request.frequency_penalty,
            request.top_k,
            request.min_p,
            request.repetition_penalty,
            request.ignore_eos,
            detokenize,
        )
        known = self._known.get(key) if _is_plain(request, prompt, structure) and max_tokens > 0 else None
        if known is None:
            parameters = sampling.parameters(request, max_tokens, structure, keep_special=False)
            parameters.detokenize = detokenize
            created = await self.checked(prompt, parameters)
            if _is_plain(request, prompt, structure):
                self._known[key] = created.sampling_params
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)
            return created
        parameters = copy(known)
        parameters.max_tokens = max_tokens
        parameters.seed = sampling.seed(request)
        return self._request(prompt["prompt_token_ids"], parameters)

    def _request(self, tokens: list[int], parameters: "SamplingParams") -> Any:
        from vllm.v1.engine import EngineCoreRequest  # INTERNAL vllm==0.32: what its validation returns

        return EngineCoreRequest(
            request_id=next(self._names),
            prompt_token_ids=tokens,
            mm_features=None,
            sampling_params=parameters,
            pooling_params=None,
            arrival_time=time.time(),
            lora_request=None,
            cache_salt=None,
            data_parallel_rank=None,
        )


def _is_plain(request: TextRequest, prompt: Any, structure: object) -> bool:
    """Whether only prompt, seed and length distinguish it from requests with the same sampling parameters."""
    return (
        structure is None
        and not request.stop
        and not request.stop_token_ids
        and not request.min_tokens
        and not request.logit_bias
        and not isinstance(request.prompt, tuple)
        and prompt["type"] == "token"
    )
