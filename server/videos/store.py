"""Video jobs as rows: the request, its state, and its result. SQL only, no files."""

import time
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.base import VideoRequest
from compat.errors import RequestError, WireError
from compat.videos.replies import Status
from server.storage.clock import steady_time
from server.storage.database import Database
from server.storage.pages import read_page
from server.videos.events import record_end
from server.videos.tables import UNFINISHED, Job, job_of, jobs, values_of

RETRY_S = 600.0
"""How long after a create an identical retry of the SDK counts as the same request."""


class JobStore:
    """The video jobs of all owners. Every method raises `RequestError` 503 while the database fails."""

    def __init__(
        self,
        database: Database,
        *,
        expire_s: float,
        max_unfinished: int,
        max_owner_unfinished: int,
        record_events: bool = False,
    ) -> None:
        """Takes the database and the limits of unfinished jobs.

        Args:
            database: Holds the rows.
            expire_s: How long finished jobs are kept.
            max_unfinished: Queued and running jobs of all owners.
            max_owner_unfinished: Queued and running jobs of one owner.
            record_events: Whether ends of jobs are recorded as webhook events.
        """
        self._database = database
        self._expire_s = expire_s
        self._max_unfinished = max_unfinished
        self._max_owner_unfinished = max_owner_unfinished
        self._record_events = record_events
        self._newest = 0.0

    async def insert(self, job: Job, *, retry_key: str | None, is_retry: bool) -> Job:
        """Stores a new job, or returns the one that the same key has created.

        Raises:
            RequestError: 429 or 503, too many jobs are unfinished; 400, the key belongs to another request.
        """
        # Lists are in order of creation: no two jobs of this server have the same time, whatever the clock does.
        created_at = self._newest = max(time.time(), self._newest + 1e-5)
        try:
            async with self._database.writing() as connection:
                made = await self._find(connection, job.owner, job.fingerprint, retry_key, is_retry=is_retry)
                if made is not None:  # by a concurrent request
                    return made
                await self._check_queue_limits(connection, job.owner)
                await connection.execute(insert(jobs).values(values_of(job, retry_key, created_at)))
            return replace(job, state=replace(job.state, created_at=int(created_at)))
        except IntegrityError:  # PostgreSQL: another server has inserted the same key at the same time
            async with self._database.reading() as connection:
                made = await self._by_key(connection, job.owner, retry_key or "")
            if made is None:
                raise
            return _require_same(made, job.fingerprint)

    async def find_duplicate(
        self, owner: str, fingerprint: str, *, retry_key: str | None, is_retry: bool
    ) -> Job | None:
        """The job that this request has created before, found by its key or as a retry of the SDK; else None.

        Raises:
            RequestError: 400, the key belongs to another request.
        """
        async with self._database.reading() as connection:
            return await self._find(connection, owner, fingerprint, retry_key, is_retry=is_retry)

    async def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """A job. With an owner, only if it is theirs."""
        condition = jobs.c.id == job_id if owner is None else (jobs.c.id == job_id) & (jobs.c.owner == owner)
        async with self._database.reading() as connection:
            row = (await connection.execute(select(jobs).where(condition))).first()
        return None if row is None else job_of(row)

    async def page(self, owner: str, after: str | None, limit: int, *, newest_first: bool) -> tuple[list[Job], bool]:
        """Up to `limit` jobs of an owner after the job with the id `after`, and whether there are more.

        Raises:
            CursorNotFound: The owner has no job with the id `after`.
        """
        own, key = jobs.c.owner == owner, (jobs.c.created_at, jobs.c.id)
        cursor = None if after is None else own & (jobs.c.id == after)
        async with self._database.reading() as connection:
            rows, more = await read_page(
                connection, select(jobs).where(own), key, after=cursor, limit=limit, newest_first=newest_first
            )
        return [job_of(row) for row in rows], more

    async def advance(self, job_id: str, status: Status, progress: int) -> bool:
        """Records the progress of a job; False when it was deleted."""
        alive = (jobs.c.id == job_id) & jobs.c.status.in_(UNFINISHED)
        async with self._database.writing() as connection:
            done = await connection.execute(update(jobs).where(alive).values(status=status, progress=progress))
        return bool(done.rowcount)

    async def finish(self, job_id: str, made: tuple[VideoRequest, float] | WireError) -> bool:
        """Ends a job, with the executed request and its time in ms, or with an error; False when it was deleted."""
        now = time.time()
        values: dict[str, Any] = {"completed_at": now, "expires_at": now + self._expire_s}
        if isinstance(made, WireError):
            values |= {"status": "failed", "error": msgspec.json.encode(made)}
        else:
            request, spent_ms = made
            values |= {"status": "completed", "progress": 100, "generation_ms": spent_ms}
            values["headline"] = msgspec.json.encode(replace(request, keyframes=()))
        alive = (jobs.c.id == job_id) & jobs.c.status.in_(UNFINISHED)
        async with self._database.writing() as connection:
            done = await connection.execute(update(jobs).where(alive).values(values).returning(jobs.c.server))
            server = done.scalar()
            if server is not None and self._record_events:
                await record_end(connection, job_id, server, values["status"])
        return server is not None

    async def delete(self, job_id: str, owner: str) -> bool:
        """Deletes a job; False when this owner has no such job."""
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(jobs).where(jobs.c.id == job_id, jobs.c.owner == owner))
        return bool(gone.rowcount)

    async def expire(self, server: str) -> list[str]:
        """Deletes expired jobs whose files this server has; returns their ids."""
        due = (jobs.c.expires_at < steady_time()) & (jobs.c.server == server)
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(jobs).where(due).returning(jobs.c.id))
            return [row.id for row in gone]

    async def requeue(self, server: str) -> None:
        """Makes the jobs that were running when the server ended queued again."""
        own = (jobs.c.server == server) & (jobs.c.status == "in_progress")
        async with self._database.writing() as connection:
            await connection.execute(update(jobs).where(own).values(status="queued"))

    async def unfinished(self, server: str, owner: str | None = None) -> list[str]:
        """Ids of a server's queued and running jobs, oldest first. With an owner, only theirs."""
        own = (jobs.c.server == server) & jobs.c.status.in_(UNFINISHED)
        if owner is not None:
            own &= jobs.c.owner == owner
        async with self._database.reading() as connection:
            found = await connection.execute(select(jobs.c.id).where(own).order_by(jobs.c.created_at, jobs.c.id))
            return list(found.scalars())

    async def ids(self, server: str, status: Status | None = None) -> set[str]:
        """Ids of all jobs whose files a server has. With a status, only those."""
        own = select(jobs.c.id).where(jobs.c.server == server)
        async with self._database.reading() as connection:
            found = await connection.execute(own if status is None else own.where(jobs.c.status == status))
            return set(found.scalars())

    async def count(self) -> dict[str, int]:
        """The number of jobs by status."""
        async with self._database.reading() as connection:
            found = await connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status))
            return {row[0]: row[1] for row in found}

    async def _find(
        self, connection: AsyncConnection, owner: str, fingerprint: str, retry_key: str | None, *, is_retry: bool
    ) -> Job | None:
        if retry_key is not None:
            made = await self._by_key(connection, owner, retry_key)
            return None if made is None else _require_same(made, fingerprint)
        if not is_retry:
            return None
        same = (jobs.c.owner == owner) & (jobs.c.fingerprint == fingerprint)
        recent = jobs.c.created_at > time.time() - RETRY_S
        newest = select(jobs).where(same, recent).order_by(jobs.c.created_at.desc()).limit(1)
        row = (await connection.execute(newest)).first()
        return None if row is None else job_of(row)

    @staticmethod
    async def _by_key(connection: AsyncConnection, owner: str, retry_key: str) -> Job | None:
        same = (jobs.c.owner == owner) & (jobs.c.retry_key == retry_key)
        row = (await connection.execute(select(jobs).where(same))).first()
        return None if row is None else job_of(row)

    async def _check_queue_limits(self, connection: AsyncConnection, owner: str) -> None:
        own = func.sum(case((jobs.c.owner == owner, 1), else_=0))
        waiting = select(func.count(), own).where(jobs.c.status.in_(UNFINISHED))
        total, own_total = (await connection.execute(waiting)).one()
        for count, most, status in (
            (own_total or 0, self._max_owner_unfinished, 429),
            (total, self._max_unfinished, 503),
        ):
            if count >= most:
                whose = "this API key" if status == 429 else "the server"
                raise RequestError(
                    f"The video queue of {whose} is full: {most} videos are unfinished. Try again when some are done.",
                    code="queue_full",
                    status=status,
                    headers={"Retry-After": "30"},
                )


def _require_same(made: Job, fingerprint: str) -> Job:
    if made.fingerprint != fingerprint:
        raise RequestError(
            "This Idempotency-Key was used for a different request. Send a new key, or the same request again.",
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
    return made
