"""Runs a server with an engine that computes nothing, in the server's own process: what is left is the front end.

`python -m frontend_parts.mock_engine MODULE ARGUMENT...` runs the module as `python -m` would, after it has put
`MockCore` where vLLM's `AsyncLLM` makes the client of its engine process. Each step gives every running request one
more token, and a step is there whenever it is asked for; in between, the event loop turns once, as it does when a
step arrives by a socket.
"""

import asyncio
import runpy
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from frontend_parts.checkpoint import words


class MockCore:
    """What `AsyncLLM` asks of its engine's client."""

    def __init__(self, vllm_config: Any) -> None:
        """Reads which tokens are words."""
        context = SimpleNamespace(destroy=lambda **_: None)
        self.resources = SimpleNamespace(engine_dead=False, engine_manager=None, ctx=context)
        self.engine_ranks_managed = [0]
        self._words = words(Path(vllm_config.model_config.model))
        self._running: dict[str, list[Any]] = {}
        """Of each request: the place of its next word, how many are to come, and of which tokens it wants logprobs."""
        self._wake = asyncio.Event()
        vllm_config.cache_config.num_gpu_blocks = 1024

    async def get_supported_tasks_async(self) -> tuple[str, ...]:
        """It writes text."""
        return ("generate",)

    async def reset_mm_cache_async(self) -> None:
        """There is none."""

    def shutdown(self, timeout: float | None = None) -> None:
        """There is nothing to end."""
        del timeout

    def dp_engines_running(self) -> bool:
        """Whether any request runs."""
        return bool(self._running)

    async def add_request_async(self, request: Any) -> None:
        """Begins a request, at a word that depends on all of its prompt."""
        place = zlib.crc32(repr(request.prompt_token_ids).encode()) % len(self._words)
        wanted = request.sampling_params
        self._running[request.request_id] = [place, wanted.max_tokens, wanted.logprob_token_ids]
        self._wake.set()

    async def abort_requests_async(self, request_ids: list[str]) -> None:
        """Forgets requests."""
        for request_id in request_ids:
            self._running.pop(request_id, None)

    async def get_output_async(self) -> Any:
        """The next step, as soon as there is a request that runs."""
        from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason

        await asyncio.sleep(0)
        while not self._running:
            self._wake.clear()
            await self._wake.wait()
        outputs, known, count = [], self._words, len(self._words)
        for request_id, state in list(self._running.items()):
            place, left, asked = state
            state[:2] = (place + 1) % count, left - 1
            reason = None
            if left == 1:
                reason = FinishReason.LENGTH
                del self._running[request_id]
            logprobs = _logprobs([known[place], *asked]) if asked else None
            outputs.append(EngineCoreOutput(request_id, [known[place]], logprobs, finish_reason=reason))
        return EngineCoreOutputs(outputs=outputs)


def _logprobs(tokens: list[int]) -> Any:
    """The same logprob for each token: our adapter's first request to an engine asks for some."""
    import numpy as np
    from vllm.v1.outputs import LogprobsLists

    return LogprobsLists(np.array([tokens]), np.full((1, len(tokens)), -1.0), np.array([1]))


def main() -> None:
    """Puts the mock in place and runs the module."""
    from vllm.v1.engine.core_client import EngineCoreClient

    def make(vllm_config: Any, *_: Any, **__: Any) -> MockCore:
        return MockCore(vllm_config)

    EngineCoreClient.make_async_mp_client = staticmethod(make)  # pyright: ignore[reportAttributeAccessIssue]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
