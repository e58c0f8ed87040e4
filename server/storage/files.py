"""Uploaded files: bytes in a directory of ours, rows in the database; limits for each key, and an end for each file.

A file is flushed and has its name before its row exists, so a row never lacks its bytes. What a crash leaves without a
row is swept. No user's text becomes part of a path.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import BigInteger, Column, Double, Index, String, Table, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.base import Media
from compat.errors import RequestError
from compat.files import StoredFile, clean_name, not_found
from compat.media import MAX_IMAGE_BYTES
from compat.wire import new_id
from server.http.multipart import Upload
from server.storage.artifacts import flush
from server.storage.database import METADATA, Database

STRAY_S = 3600.0
"""A file without a row is given so long to get one."""

files = Table(
    "files",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("name", String(255), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Index("files_of_owner", "owner", "created_at"),
)


class Files:
    """All uploaded files of all owners. Every method raises `RequestError` 503 while the database fails."""

    def __init__(
        self, database: Database, directory: Path, *, expire_s: float, max_owner_files: int, max_owner_bytes: int
    ) -> None:
        """Makes the directory.

        Args:
            database: Where the rows are.
            directory: Where the bytes are; on the disk that uploads are streamed to.
            expire_s: For how long a file is kept that does not say so itself.
            max_owner_files: Of one key; one more is a 429.
            max_owner_bytes: Of all files of one key; more is a 429.
        """
        self._database = database
        self._directory = directory
        self._expire_s = expire_s
        self._max_owner_files = max_owner_files
        self._max_owner_bytes = max_owner_bytes
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def add(self, owner: str, upload: Upload, purpose: str, expire_s: float | None) -> StoredFile:
        """Keeps an upload.

        Raises:
            RequestError: 400 or 413, it is empty or too large; 429, the owner has too much; 503, there is no room.
        """
        if not 0 < upload.size_bytes <= MAX_IMAGE_BYTES:
            raise RequestError(
                f"A file has 1 to {MAX_IMAGE_BYTES} bytes; this one has {upload.size_bytes}.",
                param="file",
                status=413 if upload.size_bytes else 400,
            )
        now = time.time()
        name, file_id = clean_name(upload.filename), new_id("file-")
        file = StoredFile(file_id, name, purpose, upload.size_bytes, now, now + (expire_s or self._expire_s))
        try:
            await asyncio.to_thread(_move, upload.path, self._path(file_id))
        except OSError as error:
            raise RequestError("There is no room for the file.", code="insufficient_storage", status=503) from error
        try:
            async with self._database.writing() as connection:
                await self._refuse_too_much(connection, owner, file.size_bytes)
                row = {"id": file_id, "owner": owner, "name": name, "purpose": purpose, "size_bytes": file.size_bytes}
                row |= {"created_at": file.created_at, "expires_at": file.expires_at}
                await connection.execute(insert(files).values(row))
        except BaseException:
            self._path(file_id).unlink(missing_ok=True)
            raise
        return file

    async def get(self, owner: str, file_id: str, param: str | None = None) -> StoredFile:
        """A file of this owner.

        Raises:
            RequestError: 404, there is none; with `param`, for a file that a request refers to.
        """
        wanted = select(files).where(files.c.id == file_id, files.c.owner == owner, files.c.expires_at > time.time())
        async with self._database.reading() as connection:
            row = (await connection.execute(wanted)).mappings().first()
        if row is None:
            raise not_found(file_id, param)
        return StoredFile(**{name: row[name] for name in StoredFile.__dataclass_fields__})

    async def media(self, owner: str, file_id: str, param: str) -> Media:
        """A file that a request shows to a model; its kind is read from its bytes. Raises as `get`."""
        return Media("", path=str(self._path((await self.get(owner, file_id, param)).id)))

    def path(self, file: StoredFile) -> Path:
        """Where the bytes are."""
        return self._path(file.id)

    async def page(
        self, owner: str, *, after: str | None, limit: int, purpose: str | None, newest_first: bool
    ) -> tuple[Sequence[StoredFile], bool]:
        """Up to `limit` files behind the one named, and whether there are more.

        Raises:
            RequestError: 404, the named one is not there.
        """
        at, key = files.c.created_at, files.c.id
        wanted = select(files).where(files.c.owner == owner, files.c.expires_at > time.time()).limit(limit + 1)
        wanted = wanted.order_by(at.desc(), key.desc()) if newest_first else wanted.order_by(at, key)
        if purpose is not None:
            wanted = wanted.where(files.c.purpose == purpose)
        if after is not None:
            named = await self.get(owner, after, "after")
            here = (named.created_at, named.id)
            wanted = wanted.where(
                (at < here[0]) | ((at == here[0]) & (key < here[1]))
                if newest_first
                else (at > here[0]) | ((at == here[0]) & (key > here[1]))
            )
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted)).mappings().all()
        found = [StoredFile(**{name: row[name] for name in StoredFile.__dataclass_fields__}) for row in rows]
        return found[:limit], len(found) > limit

    async def delete(self, owner: str, file_id: str) -> None:
        """Removes a file.

        Raises:
            RequestError: 404, there is none.
        """
        async with self._database.writing() as connection:
            done = await connection.execute(delete(files).where(files.c.id == file_id, files.c.owner == owner))
        if not done.rowcount:
            raise not_found(file_id)
        await asyncio.to_thread(self._path(file_id).unlink, missing_ok=True)

    async def sweep(self) -> None:
        """Removes what has expired, and bytes that no row speaks of."""
        async with self._database.writing() as connection:
            await connection.execute(delete(files).where(files.c.expires_at <= time.time()))
        present = await asyncio.to_thread(_older, self._directory, time.time() - STRAY_S)
        async with self._database.reading() as connection:
            known = set((await connection.execute(select(files.c.id))).scalars())
        for path in present:
            if path.name not in known:
                await asyncio.to_thread(path.unlink, missing_ok=True)

    def _path(self, file_id: str) -> Path:
        return self._directory / file_id  # of our making, or found in a row: never what a client wrote

    async def _refuse_too_much(self, connection: AsyncConnection, owner: str, size: int) -> None:
        total = select(func.count(), func.coalesce(func.sum(files.c.size_bytes), 0)).where(files.c.owner == owner)
        count, held = (await connection.execute(total)).one()
        if count >= self._max_owner_files or held + size > self._max_owner_bytes:
            raise RequestError(
                f"Your files are {count} of {held} bytes; there may be {self._max_owner_files} of "
                f"{self._max_owner_bytes} bytes. Delete some.",
                code="file_quota_exceeded",
                status=429,
                headers={"x-should-retry": "false"},
            )


def _move(source: Path, target: Path) -> None:
    """Gives flushed bytes their name: they are there whole, or not at all."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.rename(target)
    os.utime(target)
    flush(target.parent)


def _older(directory: Path, than: float) -> list[Path]:
    found: list[Path] = []
    for path in directory.iterdir():
        try:
            if path.stat().st_mtime < than:
                found.append(path)
        except FileNotFoundError:
            continue
    return found
