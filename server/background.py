"""Background tasks of the server, from start to shutdown."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from adapters.errors import AdapterError
from compat.errors import RequestError
from server.services import Services

log = logging.getLogger(__name__)
SWEEP_S = 60.0


@asynccontextmanager
async def running(services: Services) -> AsyncGenerator[None]:
    """Runs background tasks; at the end it stops them, all jobs and all models."""
    pool, responses, jobs = services.pool, services.responses, services.jobs
    loops = (pool.unload_idle(), responses.run(), jobs.run(), _sweep(services), _preload(services))
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await services.jobs.aclose()
        await services.responses.aclose()
        await services.downloads.aclose()
        await services.pool.aclose()
        await services.database.aclose()


async def _sweep(services: Services) -> None:
    while True:
        try:
            await services.artifacts.sweep()
            await services.files.sweep()
        except (OSError, RequestError) as error:
            log.warning("removing expired files failed: %s", error)
        await asyncio.sleep(SWEEP_S)


async def _preload(services: Services) -> None:
    for name in services.settings.preload:
        try:
            await services.pool.load(name)
        except AdapterError as error:
            log.error("preloading %s failed: %s", name, error)
