"""Finished files: written aside, flushed, renamed into place; served only whole; swept when they expire."""

import asyncio
import os
import secrets
import time
from pathlib import Path

from adapters.base import Media
from compat.errors import RequestError

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "video/mp4": ".mp4"}
MEDIA_TYPES = {suffix: media_type for media_type, suffix in SUFFIXES.items()}


def write(path: Path, data: bytes) -> None:
    """Writes a file aside, flushes it, and gives it its name: it is there whole, or not at all, after a power cut too.

    Raises:
        OSError: There is no room, or no directory; nothing is left behind.
    """
    part = path.with_suffix(path.suffix + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    flush(path.parent)


def flush(directory: Path) -> None:
    """Makes the names in a directory outlive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Artifacts:
    """A directory of files under names that this class makes up; no user's text ever becomes part of a path."""

    def __init__(self, directory: Path, *, expire_s: float) -> None:
        """Makes the directory. What a crash left half-written is never served, and swept like everything else."""
        self._directory = directory
        self._expire_s = expire_s
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def save(self, media: Media) -> str:
        """The opaque name of the stored file.

        Raises:
            RequestError: 503 `insufficient_storage`, when the disk is full.
        """
        name = secrets.token_hex(16) + SUFFIXES[media.media_type]
        writing = asyncio.create_task(asyncio.to_thread(self._write, self._directory / name, media.data))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:  # a thread cannot be stopped: nobody would know of what it writes
            await asyncio.wait([writing])
            await self.remove(name)
            raise
        except OSError as error:
            raise RequestError(
                "There is no room to store the result.", code="insufficient_storage", status=503
            ) from error
        return name

    def path(self, name: str) -> Path | None:
        """Where a stored file is; None when there is none of that name.

        The name is looked up among those that exist, so nothing in it can lead anywhere else.
        """
        stem, dot, suffix = name.partition(".")
        if len(stem) != 32 or not set(stem) <= set("0123456789abcdef") or dot + suffix not in MEDIA_TYPES:
            return None
        path = self._directory / name
        return path if path.is_file() and not path.is_symlink() else None

    async def remove(self, *names: str) -> None:
        """Removes files; those that are gone already are no error."""
        for name in names:
            await asyncio.to_thread((self._directory / name).unlink, missing_ok=True)

    async def sweep(self) -> None:
        """Removes all files that are older than they may get."""
        await asyncio.to_thread(self._sweep, time.time() - self._expire_s)

    _write = staticmethod(write)

    def _sweep(self, oldest: float) -> None:
        for path in self._directory.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
