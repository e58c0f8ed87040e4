"""Helper processes for one task: converting a model's files, working on a video, running pip."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any


@asynccontextmanager
async def started(module: str, *arguments: str, **streams: Any) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Runs `python -P -m module arguments...`; the process is killed and reaped when the block ends, however it ends.

    To end with a killed server as well, our own helpers are given `parent()` as an argument, which they pass to
    `adapters.process.parent_death.die_with_parent`.

    Args:
        module: Name of the module to run.
        arguments: Its command line.
        streams: Further arguments of `asyncio.create_subprocess_exec`: `stdin`, `stdout`, `stderr`, `env`, `limit`.
    """
    process = await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", module, *arguments, **streams)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def parent() -> str:
    """This process's id, as an argument for a helper that must not outlive it."""
    return str(os.getpid())
