"""Finished images that clients download by URL: written whole, served whole, removed when they expire."""

import asyncio
import secrets
from pathlib import Path

from adapters.base import Media
from adapters.files import write_file
from compat.errors import storage_error
from server.storage.clock import steady_time

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "video/mp4": ".mp4"}
MEDIA_TYPES = {suffix: media_type for media_type, suffix in SUFFIXES.items()}


class ArtifactStore:
    """A directory of files with generated names, by owner. No text from a client becomes part of a path."""

    def __init__(self, directory: Path, *, expire_s: float) -> None:
        """Creates the directory. Incomplete files of a crash are never served, and expire like all others."""
        self._directory = directory
        self._expire_s = expire_s
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def save(self, owner: str, media: Media) -> str:
        """Stores a file of an owner, and returns its generated name.

        Raises:
            RequestError: 503, the disk is full or fails.
        """
        name = secrets.token_hex(16) + SUFFIXES[media.media_type]
        writing = asyncio.create_task(asyncio.to_thread(self._write, self._directory / owner / name, media.data))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:  # a thread cannot be stopped, and no client would know the file's name
            await asyncio.wait([writing])
            await self.remove(owner, name)
            raise
        except OSError as error:
            raise storage_error(error) from error
        return name

    def path(self, owner: str, name: str) -> Path | None:
        """The path of a stored file; None where the owner has no file of that name.

        Only names of the generated form are looked up, so a name cannot lead out of the directory.
        """
        stem, dot, suffix = name.partition(".")
        if len(stem) != 32 or not set(stem) <= set("0123456789abcdef") or dot + suffix not in MEDIA_TYPES:
            return None
        path = self._directory / owner / name
        return path if path.is_file() and not path.is_symlink() else None

    async def remove(self, owner: str, *names: str) -> None:
        """Removes files. Names that do not exist are ignored."""
        for name in names:
            await asyncio.to_thread((self._directory / owner / name).unlink, missing_ok=True)

    async def sweep(self) -> None:
        """Removes all expired files."""
        await asyncio.to_thread(self._sweep, steady_time() - self._expire_s)

    _write = staticmethod(write_file)

    def _sweep(self, oldest: float) -> None:
        for path in self._directory.rglob("*.*"):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
