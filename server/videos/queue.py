"""DBOS under the video jobs: whose turn it is, and what was done already when the server died (ADR 13).

DBOS keeps its own database and its own threads, and is started with the first job. It is told ids and numbers only, as
JSON; what they mean, and all that a client may ask for, is in our tables. Its workflows run on its own loop, and each
step of them hops to the server's.
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
"""How long a model may idle between two jobs."""
LAST = -1
"""The step after all shots."""

Work = Callable[[str, int], Awaitable[bool]]
"""Does one step of a job (id; the shot, or `LAST`); returns whether there is anything left to do."""
Tell = Callable[[str], Awaitable[None]]
"""Tells somebody of an event. Raises what it likes: it is called again, later and later."""
TOLD_AT_ONCE = 8
TELL_AGAIN_S = 1.0
"""The first time; then twice as long each time, up to an hour."""
TELL_TIMES = 90
"""More than three days of it, after which `Tell` gives up by itself."""
EVENTS = "muybridge_events"


class JobQueue:
    """A queue for each model, that a killed server finds again as it was."""

    def __init__(self, url: str, server: str, work: Work, tell: Tell | None = None) -> None:
        """Starts nothing yet.

        Args:
            url: `sqlite:///PATH` or `postgresql://...`; DBOS makes its tables there.
            server: Whose jobs these are; each server works on its own.
            work: What a step is; called in the loop that calls `put`.
            tell: What is done with events, in the same loop.
        """
        self._url = url
        self._server = server
        self._work = work
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._models: set[str] = set()
        self.lost: set[str] = set()
        """Jobs that the queue dropped, because its database failed it: `put` them once more."""
        self._launched = False
        self._closing = False
        self._starting = asyncio.Lock()

    async def put(self, model: str, job_id: str, shots: int) -> bool:
        """Queues a job behind the others of its model; one that is queued or runs already stays as it is.

        Returns:
            False for a job that was begun too often, and never ended: something in it kills the server.
        """
        await self._start()
        if model not in self._models:
            await asyncio.to_thread(_register_queue, model)
            self._models.add(model)
        done = await asyncio.to_thread(_enqueue, model, job_id, shots, again=job_id in self.lost)
        self.lost.discard(job_id)
        return done

    async def tell(self, event_id: str) -> None:
        """Queues an event; one that is queued already stays as it is."""
        await self._start()
        if EVENTS not in self._models:
            await asyncio.to_thread(_register_queue, EVENTS, TOLD_AT_ONCE)
            self._models.add(EVENTS)
        await asyncio.to_thread(_enqueue, EVENTS, event_id, None, again=event_id in self.lost)
        self.lost.discard(event_id)

    async def forget(self, job_ids: Sequence[str]) -> None:
        """Takes jobs out of their queues, and removes all traces of those that have ended."""
        if self._launched and job_ids:
            await asyncio.to_thread(_forget, list(job_ids))

    async def aclose(self) -> None:
        """Ends DBOS; what runs is left as it is, to be taken up by the next start."""
        self._closing = True
        async with self._starting:
            if self._launched:
                await asyncio.to_thread(_end)

    async def _start(self) -> None:
        async with self._starting:
            if not self._launched:
                self._loop = asyncio.get_running_loop()
                # In a thread: it takes a second, and DBOS would run workflows on the loop that it finds here.
                await asyncio.to_thread(_launch, self._url, self._server, self._step, self._told, self.lost)
                self._launched = True

    async def _step(self, job_id: str, index: int) -> bool:
        """One step, awaited on DBOS's loop and worked on in ours."""
        if self._loop is not None and not self._closing:
            working = asyncio.run_coroutine_threadsafe(_run(self._work, job_id, index), self._loop)
            going_on = await asyncio.wrap_future(working)
            if not self._closing:
                return going_on
        # The server stops. A step that returned would be done for good: this one is to be taken up again.
        await asyncio.Event().wait()
        return False

    async def _told(self, event_id: str) -> None:
        """An event, awaited on DBOS's loop and told in ours."""
        if self._loop is not None and self._tell is not None and not self._closing:
            telling = asyncio.run_coroutine_threadsafe(_run_tell(self._tell, event_id), self._loop)
            try:
                await asyncio.wrap_future(telling)
            except Exception:
                if not self._closing:
                    raise
            if not self._closing:
                return
        await asyncio.Event().wait()  # as in `_step`


async def _run_tell(tell: Tell, event_id: str) -> None:
    await tell(event_id)


async def _run(work: Work, job_id: str, index: int) -> bool:
    return await work(job_id, index)


_current: Callable[[str, int], Awaitable[bool]] | None = None
"""DBOS is one for the process, and so is what its steps do."""
_telling: Tell | None = None
_lost: set[str] = set()


class Connection(sqlite3.Connection):
    """A connection to SQLite on which `unixepoch('subsec')` works before SQLite 3.42 (Debian 12 has 3.40).

    INTERNAL dbos==3.4.0: from Python 3.12 on, its tables and statements take the time from that expression. Older
    SQLite answers NULL, and jobs stay queued for ever.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Connects as `sqlite3.connect` does."""
        super().__init__(*arguments, **options)
        if sqlite3.sqlite_version_info < (3, 42):
            self.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: str) -> float:
    """Seconds since 1970, to the millisecond, as SQLite's own "subsec" has them."""
    if modifier != "subsec":
        raise ValueError(f"unixepoch({modifier!r}) is not known here")
    return round(time.time(), 3)


@cache
def _dbos() -> Any:
    """DBOS's class. Imported here, for it takes a second, and a server that never films needs none of it."""
    logger = logging.getLogger("dbos")
    logger.addHandler(logging.NullHandler())  # with a handler of its own it would not write to the server's log
    from dbos import DBOS

    return DBOS


@cache
def _workflow() -> Any:
    """The one workflow: all shots of a job, then the film. Its name and arguments are kept in the database."""
    dbos = _dbos()

    @dbos.step(name="muybridge_shot")
    async def shoot(job_id: str, index: int) -> bool:
        assert _current is not None
        return await _current(job_id, index)

    @dbos.workflow(name="muybridge_video")
    async def video(job_id: str, shots: int) -> None:
        try:
            for index in (*range(shots), LAST):
                if not await shoot(job_id, index):
                    return
        except Exception:
            # What a step came to could not be noted. DBOS leaves such a workflow "pending", and looks at it again only
            # after a restart.
            _lost.add(job_id)
            raise

    return video


@cache
def _telling_workflow() -> Any:
    """The workflow of an event: to tell of it. Kept as `_workflow` is."""
    dbos = _dbos()

    @dbos.step(
        name="muybridge_telling",
        retries_allowed=True,
        interval_seconds=TELL_AGAIN_S,
        backoff_rate=2.0,
        max_attempts=TELL_TIMES,
    )
    async def tell(event_id: str) -> None:
        assert _telling is not None
        await _telling(event_id)

    @dbos.workflow(name="muybridge_event")
    async def event(event_id: str) -> None:
        try:
            await tell(event_id)
        except Exception:
            _lost.add(event_id)
            raise

    return event


def _launch(url: str, server: str, step: Work, tell: Tell, lost: set[str]) -> None:
    global _current, _telling, _lost
    from dbos import DBOSPortableJSONSerializer

    dbos = _dbos()
    _workflow()
    _telling_workflow()
    _current, _telling, _lost = step, tell, lost
    dbos(
        config={
            "name": "muybridge",
            "system_database_url": url,
            "dbos_system_schema": f"muybridge_jobs_{server[:12]}",  # it would work on all queues that it sees
            "executor_id": server,
            "application_version": "1",  # jobs of a server before an update are taken up after it
            "run_admin_server": False,
            "db_engine_kwargs": {"connect_args": {"factory": Connection}} if url.startswith("sqlite") else {},
            "serializer": DBOSPortableJSONSerializer(),  # its own would be pickle
            "log_level": "WARNING",
        }
    )
    try:
        dbos.launch()
    except BaseException:
        dbos.destroy()
        raise


def _end() -> None:
    logging.getLogger("dbos").setLevel(logging.CRITICAL)  # it complains of what we leave unfinished on purpose
    _dbos().destroy(workflow_completion_timeout_sec=0)


def _register_queue(name: str, at_once: int = 1) -> None:
    _dbos().register_queue(name, worker_concurrency=at_once, polling_interval_sec=POLL_S)


def _enqueue(queue: str, job_id: str, shots: int | None, *, again: bool) -> bool:
    from dbos import SetWorkflowID

    dbos = _dbos()
    known = dbos.get_workflow_status(job_id)
    if known is not None and known.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return False
    if known is not None and (again or known.status in ("SUCCESS", "ERROR", "CANCELLED")):
        dbos.delete_workflow(job_id)  # ended there, or dropped, and not done here
        known = None
    if known is None:
        with SetWorkflowID(job_id):
            if shots is None:
                dbos.enqueue_workflow(queue, _telling_workflow(), job_id)
            else:
                dbos.enqueue_workflow(queue, _workflow(), job_id, shots)
    return True


def _forget(job_ids: list[str]) -> None:
    _dbos().delete_workflows(job_ids)
