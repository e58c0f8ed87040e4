"""Uploaded files: bytes in a directory, rows in the database, limits per API key, and an expiry time per file.

The bytes are on disk before the row exists, so no row lacks its bytes. Bytes that a crash leaves without a row are
removed by the sweep. No text from a client becomes part of a path.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    Index,
    Row,
    Select,
    String,
    Table,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.base import Media
from adapters.files import move_file
from compat.errors import RequestError, storage_error
from compat.files import StoredFile, clean_name, not_found
from compat.media import MAX_IMAGE_BYTES
from compat.wire import new_id
from server.http.multipart import Upload
from server.storage.clock import steady_time
from server.storage.database import METADATA, Database
from server.storage.pages import CursorNotFound, read_page

ORPHAN_S = 3600.0
"""Bytes without a row are removed when they are older than this."""

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


class FileStore:
    """The uploaded files of all owners. Every method raises `RequestError` 503 while the database fails."""

    def __init__(
        self, database: Database, directory: Path, *, expire_s: float, max_owner_files: int, max_owner_bytes: int
    ) -> None:
        """Creates the directory.

        Args:
            database: Holds the rows.
            directory: Holds the bytes; on the file system that uploads are streamed to.
            expire_s: How long a file is kept when the upload does not set an expiry.
            max_owner_files: How many files one key may have; beyond that, uploads are a 429.
            max_owner_bytes: How many bytes the files of one key may have together; beyond that, uploads are a 429.
        """
        self._database = database
        self._directory = directory
        self._expire_s = expire_s
        self._max_owner_files = max_owner_files
        self._max_owner_bytes = max_owner_bytes
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def add(self, owner: str, upload: Upload, purpose: str, expire_s: float | None) -> StoredFile:
        """Stores an upload.

        Raises:
            RequestError: 400 or 413, the file is empty or too large; 429, the owner's quota is used up; 503, the disk
                is full.
        """
        if not 0 < upload.size_bytes <= MAX_IMAGE_BYTES:
            raise RequestError(
                f"Invalid 'file': it has {upload.size_bytes} bytes. Send a file of 1 to {MAX_IMAGE_BYTES} bytes.",
                param="file",
                status=413 if upload.size_bytes else 400,
            )
        now = time.time()
        name, file_id = clean_name(upload.filename), new_id("file-")
        file = StoredFile(file_id, name, purpose, upload.size_bytes, now, now + (expire_s or self._expire_s))
        try:
            await asyncio.to_thread(_store, upload.path, self._path(file_id))
        except OSError as error:
            raise storage_error(error) from error
        try:
            async with self._database.writing() as connection:
                await self._check_quota(connection, owner, file.size_bytes)
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
            RequestError: 404, the owner has no such file. `param` is the field of the request that refers to the file.
        """
        async with self._database.reading() as connection:
            row = (await connection.execute(_of(owner).where(files.c.id == file_id))).first()
        if row is None:
            raise not_found(file_id, param)
        return _stored(row)

    async def media(self, owner: str, file_id: str, param: str) -> Media:
        """A file as model input; its media type is detected from its bytes. Raises as `get`."""
        return Media("", path=str(self._path((await self.get(owner, file_id, param)).id)))

    def path(self, file: StoredFile) -> Path:
        """The path of a file's bytes."""
        return self._path(file.id)

    async def page(
        self, owner: str, *, after: str | None, limit: int, purpose: str | None, newest_first: bool
    ) -> tuple[Sequence[StoredFile], bool]:
        """Up to `limit` files after the file with the id `after`, and whether there are more.

        Raises:
            RequestError: 404, there is no file with the id `after`.
        """
        rows = _of(owner) if purpose is None else _of(owner).where(files.c.purpose == purpose)
        cursor = None if after is None else (files.c.id == after) & _is_live(owner)
        key = (files.c.created_at, files.c.id)
        try:
            async with self._database.reading() as connection:
                found, more = await read_page(
                    connection, rows, key, after=cursor, limit=limit, newest_first=newest_first
                )
        except CursorNotFound:
            raise not_found(after or "", "after") from None
        return [_stored(row) for row in found], more

    async def delete(self, owner: str, file_id: str) -> None:
        """Removes a file.

        Raises:
            RequestError: 404, the owner has no such file.
        """
        async with self._database.writing() as connection:
            done = await connection.execute(delete(files).where(files.c.id == file_id, files.c.owner == owner))
        if not done.rowcount:
            raise not_found(file_id)
        await asyncio.to_thread(self._path(file_id).unlink, missing_ok=True)

    async def sweep(self) -> None:
        """Removes expired files, and bytes without a row."""
        async with self._database.writing() as connection:
            await connection.execute(delete(files).where(files.c.expires_at <= steady_time()))
        present = await asyncio.to_thread(_older, self._directory, steady_time() - ORPHAN_S)
        async with self._database.reading() as connection:
            known = set((await connection.execute(select(files.c.id))).scalars())
        for path in present:
            if path.name not in known:
                await asyncio.to_thread(path.unlink, missing_ok=True)

    def _path(self, file_id: str) -> Path:
        return self._directory / file_id  # a generated id, never text from a client

    async def _check_quota(self, connection: AsyncConnection, owner: str, size: int) -> None:
        total = select(func.count(), func.coalesce(func.sum(files.c.size_bytes), 0)).where(files.c.owner == owner)
        count, held = (await connection.execute(total)).one()
        if count >= self._max_owner_files or held + size > self._max_owner_bytes:
            raise RequestError(
                f"The file quota of this API key is used up: {count} files with {held} bytes of at most "
                f"{self._max_owner_files} files with {self._max_owner_bytes} bytes. Delete files, then try again.",
                code="file_quota_exceeded",
                status=429,
                headers={"x-should-retry": "false"},
            )


def _is_live(owner: str) -> ColumnElement[bool]:
    return (files.c.owner == owner) & (files.c.expires_at > time.time())


def _of(owner: str) -> Select[Any]:
    return select(files).where(_is_live(owner))


def _stored(row: Row[Any]) -> StoredFile:
    return StoredFile(**{name: getattr(row, name) for name in StoredFile.__dataclass_fields__})


def _store(source: Path, target: Path) -> None:
    os.utime(source)  # the sweep goes by this time
    move_file(source, target)


def _older(directory: Path, than: float) -> list[Path]:
    found: list[Path] = []
    for path in directory.iterdir():
        try:
            if path.stat().st_mtime < than:
                found.append(path)
        except FileNotFoundError:
            continue
    return found
