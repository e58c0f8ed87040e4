"""Requests to vLLM's engine: checked by vLLM, and not once more where their like was checked before.

Checking one takes as long as rendering and reading a short conversation. Most requests differ from earlier ones in
their prompt, their seed and their length alone, and those three need no check here: the prompt's ids are the
tokenizer's own, and `sampling.budget` has held the length to the context.
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
"""Sampling parameters that are remembered."""


class Requests:
    """Makes the requests of one running engine."""

    def __init__(self, llm: "AsyncLLM") -> None:
        """Nothing is known yet."""
        self._llm = llm
        self._known: OrderedDict[tuple[float | bool, ...], SamplingParams] = OrderedDict()
        self._names = map(f"{uuid.uuid4().hex}-%d".__mod__, count())

    async def checked(self, prompt: Any, parameters: "SamplingParams") -> Any:
        """An EngineCoreRequest. vLLM compiles grammars while it checks one, and that is not for our loop.

        Args:
            prompt: Of `Prompts`.
            parameters: Of `sampling.parameters`.

        Raises:
            VLLMValidationError: vLLM refuses it.
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
        """An EngineCoreRequest for one answer of nothing but text.

        Args:
            request: What to write.
            prompt: Of `Prompts`.
            max_tokens: Of `sampling.budget`.
            structure: What the engine must hold the answer to.
            detokenize: Whether vLLM makes the text.

        Raises:
            VLLMValidationError: vLLM refuses it.
        """
        key = (
            request.temperature,
            request.top_p,
            request.presence_penalty,
            request.frequency_penalty,
            detokenize,
        )
        known = self._known.get(key) if _usual(request, prompt, structure) and max_tokens > 0 else None
        if known is None:
            parameters = sampling.parameters(request, max_tokens, structure, keep_special=False)
            parameters.detokenize = detokenize
            made = await self.checked(prompt, parameters)
            if _usual(request, prompt, structure):
                self._known[key] = made.sampling_params
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)
            return made
        parameters = copy(known)
        parameters.max_tokens = max_tokens
        parameters.seed = sampling.seed(request)
        return self._request(prompt["prompt_token_ids"], parameters)

    def _request(self, tokens: list[int], parameters: "SamplingParams") -> Any:
        from vllm.v1.engine import EngineCoreRequest

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


def _usual(request: TextRequest, prompt: Any, structure: object) -> bool:
    """Whether nothing but prompt, seed and length tells it from others with the same temperature, and so on."""
    return (
        structure is None
        and not request.stop
        and not request.logit_bias
        and not isinstance(request.prompt, tuple)
        and prompt["type"] == "token"
    )
