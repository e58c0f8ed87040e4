"""Notices an engine's process that hangs: it is killed, its requests end, and the model can be loaded again.

vLLM notices a process that has ended, and waits for one that is stopped or blocked for ever.
"""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

log = logging.getLogger(__name__)

CHECK_EVERY_S = 10.0
HANG_S = 50.0
"""An engine answers between two steps. One that neither answers nor computes for this long hangs: together with
`CHECK_EVERY_S`, a minute, as for all models' processes."""
WORKING_S = 1.0
"""Seconds of CPU time in `HANG_S` that show a long step. A process that waits for its GPU uses them too: CUDA polls."""


async def watch(llm: "AsyncLLM", processes: list[Any]) -> None:
    """Runs until the engine has ended, or kills it when it hangs.

    Args:
        llm: The engine's client in this process.
        processes: The engine's processes, with a `pid` and `kill()`.
    """
    while not llm.errored:
        await asyncio.sleep(CHECK_EVERY_S)
        before = _cpu_s(processes)
        try:
            async with asyncio.timeout(HANG_S):
                await llm.engine_core.is_sleeping_async()  # any call that the engine itself answers
        except TimeoutError:
            if _cpu_s(processes) - before < WORKING_S:
                log.error("the engine has not answered for %.0f s and does not work: killing it", HANG_S)
                for process in processes:
                    process.kill()
                return
        except Exception:  # it has ended, which its client reports to the requests
            return


def _cpu_s(processes: list[Any]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            root = psutil.Process(process.pid)
            for one in (root, *root.children(recursive=True)):
                with suppress(psutil.Error):
                    times = one.cpu_times()
                    total += times.user + times.system
    return total
