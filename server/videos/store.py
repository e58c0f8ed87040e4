"""Video jobs as rows: what was asked, what is known of it, and how it ended. SQL only, no files."""

import time
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import and_, case, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.base import VideoRequest
from compat.errors import RequestError, WireError
from compat.videos.replies import Status
from server.storage.database import Database
from server.videos.events import note
from server.videos.tables import UNFINISHED, Job, job_of, jobs, values_of

RETRY_S = 600.0
"""So long after a create, the SDK's byte-identical retry of it is taken for the same."""


class JobStore:
    """All video jobs of all owners. Every method raises `RequestError` 503 while the database fails."""

    def __init__(
        self,
        database: Database,
        *,
        expire_s: float,
        max_unfinished: int,
        max_owner_unfinished: int,
        notes_ends: bool = False,
    ) -> None:
        """Takes the database, how many jobs may wait or run, and whether somebody is to be told of their ends."""
        self._database = database
        self._expire_s = expire_s
        self._max_unfinished = max_unfinished
        self._max_owner_unfinished = max_owner_unfinished
        self._notes_ends = notes_ends
        self._newest = 0.0

    async def insert(self, job: Job, *, retry_key: str | None, is_retry: bool) -> Job:
        """Keeps a new job; or finds the one that the same key made.

        Raises:
            RequestError: 429 or 503, when too many are waiting already; 400, when the key belongs to another request.
        """
        # Lists are in the order of creation: no two of this server have the same time, whatever the clock does.
        created_at = self._newest = max(time.time(), self._newest + 1e-5)
        try:
            async with self._database.writing() as connection:
                made = await self._made(connection, job.owner, job.fingerprint, retry_key, is_retry=is_retry)
                if made is not None:  # a moment ago, beside this one
                    return made
                await self._refuse_too_many(connection, job.owner)
                await connection.execute(insert(jobs).values(values_of(job, retry_key, created_at)))
            return replace(job, state=replace(job.state, created_at=int(created_at)))
        except IntegrityError:  # PostgreSQL, another server: both looked, and both found none
            async with self._database.reading() as connection:
                made = await self._by_key(connection, job.owner, retry_key or "")
            if made is None:
                raise
            return _same(made, job.fingerprint)

    async def made_before(self, owner: str, fingerprint: str, *, retry_key: str | None, is_retry: bool) -> Job | None:
        """The job that this very request has made already, if it has: by its key, or as the retry of a lost reply.

        Raises:
            RequestError: 400, when the key belongs to another request.
        """
        async with self._database.reading() as connection:
            return await self._made(connection, owner, fingerprint, retry_key, is_retry=is_retry)

    async def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """A job; where an owner is given, only if it is theirs."""
        condition = jobs.c.id == job_id if owner is None else (jobs.c.id == job_id) & (jobs.c.owner == owner)
        async with self._database.reading() as connection:
            row = (await connection.execute(select(jobs).where(condition))).first()
        return None if row is None else job_of(row)

    async def page(self, owner: str, after: str | None, limit: int, *, newest_first: bool) -> list[Job] | None:
        """Up to `limit` jobs of an owner behind the one named; None, when that one is not theirs."""
        at, key = jobs.c.created_at, jobs.c.id
        wanted = select(jobs).where(jobs.c.owner == owner).limit(limit)
        wanted = wanted.order_by(at.desc(), key.desc()) if newest_first else wanted.order_by(at, key)
        async with self._database.reading() as connection:
            if after is not None:
                named = select(at).where(key == after, jobs.c.owner == owner)
                since = (await connection.execute(named)).scalar()
                if since is None:
                    return None
                behind = (at < since, key < after) if newest_first else (at > since, key > after)
                wanted = wanted.where(or_(behind[0], and_(at == since, behind[1])))
            return [job_of(row) for row in await connection.execute(wanted)]

    async def advance(self, job_id: str, status: Status, progress: int) -> bool:
        """Says how far a job is; False when it has been deleted."""
        alive = (jobs.c.id == job_id) & jobs.c.status.in_(UNFINISHED)
        async with self._database.writing() as connection:
            done = await connection.execute(update(jobs).where(alive).values(status=status, progress=progress))
        return bool(done.rowcount)

    async def finish(self, job_id: str, made: tuple[VideoRequest, float] | WireError) -> bool:
        """Ends a job: with what was made and how long that took, in ms, or with an error. False: it was deleted."""
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
            if server is not None and self._notes_ends:
                await note(connection, job_id, server, values["status"])
        return server is not None

    async def delete(self, job_id: str, owner: str) -> bool:
        """Forgets a job; False when this owner has none of that id."""
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(jobs).where(jobs.c.id == job_id, jobs.c.owner == owner))
        return bool(gone.rowcount)

    async def expire(self, server: str) -> list[str]:
        """Forgets jobs that ended long enough ago, whose files this server has; returns their ids."""
        due = (jobs.c.expires_at < time.time()) & (jobs.c.server == server)
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(jobs).where(due).returning(jobs.c.id))
            return [row.id for row in gone]

    async def requeue(self, server: str) -> None:
        """What ran when the server died waits again."""
        own = (jobs.c.server == server) & (jobs.c.status == "in_progress")
        async with self._database.writing() as connection:
            await connection.execute(update(jobs).where(own).values(status="queued"))

    async def unfinished(self, server: str, owner: str | None = None) -> list[str]:
        """Ids of what waits or runs at a server, oldest first; where an owner is given, only theirs."""
        own = (jobs.c.server == server) & jobs.c.status.in_(UNFINISHED)
        if owner is not None:
            own &= jobs.c.owner == owner
        async with self._database.reading() as connection:
            found = await connection.execute(select(jobs.c.id).where(own).order_by(jobs.c.created_at, jobs.c.id))
            return list(found.scalars())

    async def ids(self, server: str, status: Status | None = None) -> set[str]:
        """All jobs whose files a server has; or those in one state."""
        own = select(jobs.c.id).where(jobs.c.server == server)
        async with self._database.reading() as connection:
            found = await connection.execute(own if status is None else own.where(jobs.c.status == status))
            return set(found.scalars())

    async def count(self) -> dict[str, int]:
        """Jobs by status."""
        async with self._database.reading() as connection:
            found = await connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status))
            return {row[0]: row[1] for row in found}

    async def _made(
        self, connection: AsyncConnection, owner: str, fingerprint: str, retry_key: str | None, *, is_retry: bool
    ) -> Job | None:
        if retry_key is not None:
            made = await self._by_key(connection, owner, retry_key)
            return None if made is None else _same(made, fingerprint)
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

    async def _refuse_too_many(self, connection: AsyncConnection, owner: str) -> None:
        own = func.sum(case((jobs.c.owner == owner, 1), else_=0))
        waiting = select(func.count(), own).where(jobs.c.status.in_(UNFINISHED))
        total, own_total = (await connection.execute(waiting)).one()
        for count, most, status in (
            (own_total or 0, self._max_owner_unfinished, 429),
            (total, self._max_unfinished, 503),
        ):
            if count >= most:
                whose = "of this key " if status == 429 else ""
                raise RequestError(
                    f"{most} videos {whose}are waiting already.",
                    code="queue_full",
                    status=status,
                    headers={"Retry-After": "30"},
                )


def _same(made: Job, fingerprint: str) -> Job:
    if made.fingerprint != fingerprint:
        raise RequestError(
            "This Idempotency-Key was sent with another request.",
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
    return made
