"""The queue of video jobs, on DBOS: the order of jobs per model, and recovery after a crash (ADR 13).

DBOS has its own database and threads, and starts with the first job. It stores only ids and numbers, as JSON; the jobs
themselves are in the server's tables. Its workflows run on its own event loop, and each step runs on the server's.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

log = logging.getLogger(__name__)

POLL_S = 0.25
"""How long a model may be idle between two jobs."""
ASSEMBLE = -1
"""The step after all shots: making the video from the clips."""

RunStep = Callable[[str, int], Awaitable[bool]]
"""Runs one step of a job (its id; the number of a shot, or `ASSEMBLE`); returns whether further steps follow."""
Deliver = Callable[[str], Awaitable[None]]
"""Delivers an event (its id). When it raises, it is called again later."""
CONCURRENT_DELIVERIES = 8
RETRY_DELIVERY_S = 1.0
"""Before the first retry; doubled for each further one, up to an hour."""
MAX_DELIVERIES = 90
"""More than three days of retries, after which `Deliver` itself gives up."""
EVENTS = "muybridge_events"


class JobQueue:
    """One queue per model. The queues survive a crash of the server."""

    def __init__(self, url: str, server: str, run_step: RunStep, deliver: Deliver | None = None) -> None:
        """Starts nothing yet.

        Args:
            url: `sqlite:///PATH` or `postgresql://...`, where DBOS creates its tables.
            server: The name of this server, which works only on its own jobs.
            run_step: Runs a step, on the event loop that calls `put`.
            deliver: Delivers an event, on the same event loop.
        """
        self._url = url
        self._server = server
        self._run_step = run_step
        self._deliver = deliver
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: set[str] = set()
        self.lost: set[str] = set()
        """Jobs and events that the queue has dropped because its database failed. They must be put again."""
        self._launched = False
        self._closing = False
        self._starting = asyncio.Lock()

    async def put(self, model: str, job_id: str, shots: int) -> bool:
        """Appends a job to the queue of its model. A job that is queued or running already is left alone.

        Returns:
            False for a job that was started too often without ending: something in it crashes the server.
        """
        await self._start()
        if model not in self._queues:
            await asyncio.to_thread(_register_queue, model)
            self._queues.add(model)
        accepted = await asyncio.to_thread(_enqueue, model, job_id, shots, again=job_id in self.lost)
        self.lost.discard(job_id)
        return accepted

    async def put_event(self, event_id: str) -> None:
        """Queues an event for delivery. An event that is queued already is left alone."""
        await self._start()
        if EVENTS not in self._queues:
            await asyncio.to_thread(_register_queue, EVENTS, CONCURRENT_DELIVERIES)
            self._queues.add(EVENTS)
        await asyncio.to_thread(_enqueue, EVENTS, event_id, None, again=event_id in self.lost)
        self.lost.discard(event_id)

    async def forget(self, job_ids: Sequence[str]) -> None:
        """Removes jobs from their queues, and the records of ended jobs."""
        if self._launched and job_ids:
            await asyncio.to_thread(_forget, list(job_ids))

    async def aclose(self) -> None:
        """Stops DBOS. Unfinished jobs continue after the next start."""
        self._closing = True
        async with self._starting:
            if self._launched:
                await asyncio.to_thread(_shut_down)

    async def _start(self) -> None:
        async with self._starting:
            if not self._launched:
                self._loop = asyncio.get_running_loop()
                # In a thread: it takes a second, and DBOS would use the running event loop for its workflows.
                await asyncio.to_thread(_launch, self._url, self._server, self._step, self._deliver_event, self.lost)
                self._launched = True

    async def _step(self, job_id: str, index: int) -> bool:
        """One step, awaited on DBOS's event loop and run on the server's."""
        if self._loop is not None and not self._closing:
            running = asyncio.run_coroutine_threadsafe(_call_step(self._run_step, job_id, index), self._loop)
            more = await asyncio.wrap_future(running)
            if not self._closing:
                return more
        # The server stops. A step that returns counts as done, so this one must not: it runs again at the next start.
        await asyncio.Event().wait()
        return False

    async def _deliver_event(self, event_id: str) -> None:
        """One delivery, awaited on DBOS's event loop and run on the server's."""
        if self._loop is not None and self._deliver is not None and not self._closing:
            delivering = asyncio.run_coroutine_threadsafe(_call_deliver(self._deliver, event_id), self._loop)
            try:
                await asyncio.wrap_future(delivering)
            except Exception:
                if not self._closing:
                    raise
            if not self._closing:
                return
        await asyncio.Event().wait()  # as in `_step`


async def _call_deliver(deliver: Deliver, event_id: str) -> None:
    await deliver(event_id)


async def _call_step(run_step: RunStep, job_id: str, index: int) -> bool:
    return await run_step(job_id, index)


_run_step: RunStep | None = None
"""DBOS exists once per process, and so does what its steps call."""
_deliver: Deliver | None = None
_lost: set[str] = set()


class Connection(sqlite3.Connection):
    """A connection to SQLite on which `unixepoch('subsec')` works before SQLite 3.42 (Debian 12 has 3.40).

    INTERNAL dbos==3.4.0: from Python 3.12 on, its tables and statements take the time from that expression. Older
    SQLite answers NULL, and jobs would stay queued.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Connects like `sqlite3.connect`."""
        super().__init__(*arguments, **options)
        if sqlite3.sqlite_version_info < (3, 42):
            self.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: str) -> float:
    """Seconds since 1970 with milliseconds, as SQLite's own "subsec"."""
    if modifier != "subsec":
        raise ValueError(f"unixepoch({modifier!r}) is not supported")
    return round(time.time(), 3)


@cache
def _dbos() -> Any:
    """DBOS's class. Imported here, since the import takes a second and a server without video jobs does not need it."""
    logger = logging.getLogger("dbos")
    logger.addHandler(logging.NullHandler())  # without a handler, DBOS adds its own instead of using the server's log
    from dbos import DBOS

    return DBOS


@cache
def _workflow() -> Any:
    """The workflow of a job: all shots, then the video. Its name and arguments are stored in the database."""
    dbos = _dbos()

    @dbos.step(name="muybridge_shot")
    async def step(job_id: str, index: int) -> bool:
        assert _run_step is not None
        return await _run_step(job_id, index)

    @dbos.workflow(name="muybridge_video")
    async def video(job_id: str, shots: int) -> None:
        try:
            for index in (*range(shots), ASSEMBLE):
                if not await step(job_id, index):
                    return
        except Exception:
            # The result of a step could not be recorded. DBOS leaves such a workflow pending, and runs it again only
            # after a restart.
            _lost.add(job_id)
            raise

    return video


@cache
def _delivery_workflow() -> Any:
    """The workflow of an event: delivering it. Stored as `_workflow`."""
    dbos = _dbos()

    @dbos.step(
        name="muybridge_telling",
        retries_allowed=True,
        interval_seconds=RETRY_DELIVERY_S,
        backoff_rate=2.0,
        max_attempts=MAX_DELIVERIES,
    )
    async def deliver(event_id: str) -> None:
        assert _deliver is not None
        await _deliver(event_id)

    @dbos.workflow(name="muybridge_event")
    async def event(event_id: str) -> None:
        try:
            await deliver(event_id)
        except Exception:
            _lost.add(event_id)
            raise

    return event


def _launch(url: str, server: str, run_step: RunStep, deliver: Deliver, lost: set[str]) -> None:
    global _run_step, _deliver, _lost
    from dbos import DBOSPortableJSONSerializer

    dbos = _dbos()
    _workflow()
    _delivery_workflow()
    _run_step, _deliver, _lost = run_step, deliver, lost
    dbos(
        config={
            "name": "muybridge",
            "system_database_url": url,
            "dbos_system_schema": f"muybridge_jobs_{server[:12]}",  # a server would run all queues of its schema
            "executor_id": server,
            "application_version": "1",  # constant, so that jobs continue after an update of the server
            "run_admin_server": False,
            "db_engine_kwargs": {"connect_args": {"factory": Connection}} if url.startswith("sqlite") else {},
            "serializer": DBOSPortableJSONSerializer(),  # the default is pickle
            "log_level": "WARNING",
        }
    )
    try:
        dbos.launch()
    except BaseException:
        dbos.destroy()
        raise


def _shut_down() -> None:
    logging.getLogger("dbos").setLevel(logging.CRITICAL)  # it warns about workflows that are left unfinished on purpose
    _dbos().destroy(workflow_completion_timeout_sec=0)


def _register_queue(name: str, concurrency: int = 1) -> None:
    _dbos().register_queue(name, worker_concurrency=concurrency, polling_interval_sec=POLL_S)


def _enqueue(queue: str, job_id: str, shots: int | None, *, again: bool) -> bool:
    from dbos import SetWorkflowID

    dbos = _dbos()
    known = dbos.get_workflow_status(job_id)
    if known is not None and known.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return False
    if known is not None and (again or known.status in ("SUCCESS", "ERROR", "CANCELLED")):
        dbos.delete_workflow(job_id)  # ended or dropped in DBOS, but unfinished in our tables
        known = None
    if known is None:
        with SetWorkflowID(job_id):
            if shots is None:
                dbos.enqueue_workflow(queue, _delivery_workflow(), job_id)
            else:
                dbos.enqueue_workflow(queue, _workflow(), job_id, shots)
    return True


def _forget(job_ids: list[str]) -> None:
    _dbos().delete_workflows(job_ids)
