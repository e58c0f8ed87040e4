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

    It also ends with a killed server, from its first moments on: `helper.py` sees to that.

    Args:
        module: Name of the module to run.
        arguments: Its command line.
        streams: Further arguments of `asyncio.create_subprocess_exec`: `stdin`, `stdout`, `stderr`, `env`, `limit`.
    """
    command = ("-P", "-m", "adapters.process.helper", str(os.getpid()), module, *arguments)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, **streams)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
