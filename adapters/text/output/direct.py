"""One plain answer straight from the engine's outputs: no object and no wake-up a token where the outlet is open.

vLLM's `AsyncLLM` makes three objects of every token and wakes a task for it. Here only the last part of that way is
replaced, of vLLM 0.32 (`vllm/v1/engine/output_processor.py`): what comes of a step goes into a `Flow`. Where there are
stop strings, or the vocabulary is not one of bytes, vLLM makes the text of the tokens as ever.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from vllm.v1.engine.output_processor import RequestState

from adapters.base import Outlet


class Flow:
    """The text of one answer between the engine's outputs and whoever reads it. In one event loop."""

    def __init__(self, outlet: Outlet | None, read: Callable[[Sequence[int]], str] | None = None) -> None:
        """Nothing written yet.

        Args:
            outlet: Where pieces may leave.
            read: Makes text of tokens, where the request left that to us (`detokenize=False`).
        """
        self._outlet = outlet
        self.read = read
        self._ready = asyncio.Event()
        self._pieces: list[str] = []
        self._begun = False
        self.error: Exception | None = None
        """Why the answer ends, where it ends badly."""
        self.reason: str | None = None
        """vLLM's finish reason, once there is one."""
        self.tokens = 0
        """Written so far."""
        self.cached_tokens = 0
        """Of the prompt's tokens, those from the prefix cache; known with the first piece."""

    def put(self, output: Any) -> None:
        """What vLLM does with a queue to tell of an error."""
        self.error = output
        self._ready.set()

    def take(self, text: str, tokens: int, reason: str | None) -> None:
        """The next piece."""
        self.tokens += tokens
        if reason is None:
            if not text:
                return
            # The first piece opens the reply, and nothing may overtake a piece that waits.
            if self._begun and not self._pieces and self._outlet is not None and self._outlet.write(text):
                return
        self._begun = True
        self._pieces.append(text)
        self.reason = reason
        self._ready.set()

    async def next(self) -> str:
        """All text that has come and has not gone out; with it `reason` may be set.

        Raises:
            Exception: vLLM's.
        """
        await self._ready.wait()
        self._ready.clear()
        if self.error is not None:
            raise self.error
        text = "".join(self._pieces)
        self._pieces.clear()
        return text


class _DirectState(RequestState):
    """A request's state that fills a `Flow` and makes no output objects."""

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
        else:  # The token that ends an answer is no part of it.
            text = flow.read(new_token_ids[:-1] if reason == "stop" else new_token_ids)
        flow.take(text, len(new_token_ids), reason)


async def answer(llm: Any, request: Any, flow: Flow) -> AsyncGenerator[str]:
    """Pieces of text; the last one is there when `flow.reason` is set.

    Closing it aborts the request in the engine at once.

    Args:
        llm: vLLM's AsyncLLM.
        request: vLLM's EngineCoreRequest of one answer, in pieces (DELTA), without logprobs.
        flow: Where the answer goes.
    """
    request.external_req_id = request.request_id  # ours are unique: vLLM need not make them so
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
