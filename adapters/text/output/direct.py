"""One plain answer straight from the engine's outputs: no object and no wake-up per token while the outlet is open.

vLLM's `AsyncLLM` creates three objects for every token and wakes a task for it. This replaces only its last step: the
outputs of an engine step go into a `Flow`. With stop strings, or with a vocabulary that is not byte-level, vLLM itself
detokenizes, as usual.

INTERNAL vllm==0.32: `vllm/v1/engine/output_processor.py` (`RequestState`, `request_states`, `add_request`) and
AsyncLLM's `_run_output_handler`, `engine_core` and `abort`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from vllm.v1.engine.output_processor import RequestState

from adapters.base import Outlet


class Flow:
    """The text of one answer on its way from the engine's outputs to its reader. Not thread-safe."""

    def __init__(self, outlet: Outlet | None, read: Callable[[Sequence[int]], str] | None = None) -> None:
        """Starts empty.

        Args:
            outlet: Where text may be sent at once.
            read: Turns tokens into text, if vLLM does not (`detokenize=False`).
        """
        self._outlet = outlet
        self.read = read
        self._ready = asyncio.Event()
        self._texts: list[str] = []
        self._started = False
        self.error: Exception | None = None
        """The error with which the answer ends."""
        self.reason: str | None = None
        """vLLM's finish reason, once there is one."""
        self.tokens = 0
        """Tokens generated so far."""
        self.cached_tokens = 0
        """The prompt's tokens that came from the prefix cache; known with the first text."""

    def put(self, output: Any) -> None:
        """Ends the answer with an error; vLLM calls this as on its own queue."""
        self.error = output
        self._ready.set()

    def take(self, text: str, tokens: int, reason: str | None) -> None:
        """Adds the text of an engine step."""
        self.tokens += tokens
        if reason is None:
            if not text:
                return
            # The first text opens the reply, and no text may overtake one that waits.
            if self._started and not self._texts and self._outlet is not None and self._outlet.write(text):
                return
        self._started = True
        self._texts.append(text)
        self.reason = reason
        self._ready.set()

    async def next(self) -> str:
        """Waits for text and returns all that was not sent; `reason` may be set with it.

        Raises:
            Exception: What vLLM reports.
        """
        await self._ready.wait()
        self._ready.clear()
        if self.error is not None:
            raise self.error
        text = "".join(self._texts)
        self._texts.clear()
        return text


class _DirectState(RequestState):
    """A request's state that fills a `Flow` and creates no output objects."""

    def make_request_output(
        self, new_token_ids: Any, pooling_output: Any, finish_reason: Any, *_: Any, **__: Any
    ) -> None:
        del pooling_output
        finished = finish_reason is not None
        flow: Any = self.queue
        reason = str(finish_reason) if finished else None
        if flow.read is None:
            assert self.detokenizer is not None
            text = self.detokenizer.get_next_output_text(finished, True)
        else:  # the token that ends an answer is not part of its text
            text = flow.read(new_token_ids[:-1] if reason == "stop" else new_token_ids)
        flow.take(text, len(new_token_ids), reason)


async def answer(llm: Any, request: Any, flow: Flow) -> AsyncGenerator[str]:
    """TokenCache of text; the last one is there when `flow.reason` is set.

    Closing the generator aborts the request in the engine at once.

    Args:
        llm: vLLM's AsyncLLM.
        request: vLLM's EngineCoreRequest of one answer, with output kind DELTA and without logprobs.
        flow: Receives the answer.
    """
    request.external_req_id = request.request_id  # ours are unique, so vLLM need not add to them
    llm._run_output_handler()
    processor = llm.output_processor
    processor.add_request(request, None, None, 0, flow)
    state = processor.request_states[request.request_id]
    state.__class__ = _DirectState
    try:
        await llm.engine_core.add_request_async(request)
        while flow.reason is None:
            text = await flow.next()
            flow.cached_tokens = state.num_cached_tokens
            yield text
    finally:
        if flow.reason is None and not llm.errored:
            await llm.abort(request.request_id, internal=True)
