"""The files of video jobs: a folder for each, what came with the request, clips, and the film.

All names are made up here. A file that has its name is whole: it was written aside, flushed, and renamed.
"""

import asyncio
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from adapters.base import Media, VideoRequest
from compat.errors import RequestError
from compat.videos.plan import Plan
from server.storage.artifacts import SUFFIXES, flush, write

FILM = "film.mp4"
THUMBNAIL = "film.png"
FACTS = "film.json"
"""What the film is; there before the film itself."""
SHEET = "sheet.jpg"
"""The film at one look, once somebody has asked for it."""
SOURCE = "key-source.mp4"
"""The film that is filmed anew."""
SOUND = "key-sound.m4a"
"""What is heard; the film holds as much of it as it has room for."""
HEARD = "film.m4a"
"""What the model has made to be heard, where it did and `SOUND` does not take its place."""
ID = re.compile("video_[0-9a-f]{30}")


def clip(index: int) -> str:
    """The name of a shot's clip."""
    return f"clip-{index}.mp4"


def clip_sound(index: int) -> str:
    """The name of what is heard with a shot's clip, where its model makes sounds."""
    return f"clip-{index}-sound"


def no_room() -> RequestError:
    """The disk is full."""
    return RequestError("There is no room to store the video.", code="insufficient_storage", status=503)


class JobFiles:
    """The folders of all video jobs of one data directory, and who works on them."""

    def __init__(self, directory: Path) -> None:
        """Makes the directory, and gives it a name of its own: jobs remember where their files are."""
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        named = directory / "server"
        if not named.exists():
            write(named, secrets.token_hex(16).encode())
        self.server = named.read_text()
        self._lock = -1

    def claim(self) -> bool:
        """Whether this process is the one that works on these jobs; it stays so for as long as it lives.

        The kernel drops a dead process's lock, whatever killed it.
        """
        if self._lock < 0:
            descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._lock = descriptor
        return True

    def release(self) -> None:
        """Lets another process work on these jobs."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def save(self, job_id: str, name: str, data: bytes) -> str:
        """Writes a file of a job, whole or not at all.

        Raises:
            RequestError: 503 `insufficient_storage`, when the disk is full.
        """
        path = self._folder(job_id) / name
        writing = asyncio.create_task(asyncio.to_thread(_save, path, data))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:  # a thread cannot be stopped: whoever removes the folder waits for us
            await asyncio.wait([writing])
            raise
        except OSError as error:
            raise no_room() from error
        return name

    async def keep(self, job_id: str, index: int, picture: Media) -> Media:
        """A picture that came with the request as a file of the job; its path is the name in the job's folder."""
        name = f"key-{index}{SUFFIXES.get(picture.media_type, '.bin')}"
        data = picture.data or await asyncio.to_thread(Path(picture.path).read_bytes)
        return Media(picture.media_type, path=await self.save(job_id, name, data))

    def place(self, job_id: str, name: str) -> Path:
        """Where a file of a job is, or would be."""
        return self._folder(job_id) / name

    def has(self, job_id: str, name: str) -> bool:
        """Whether a file is there, and so is whole."""
        return self.place(job_id, name).is_file()

    def picture(self, job_id: str, kept: Media) -> Media:
        """A picture that `keep` has kept."""
        return Media(kept.media_type, path=str(self.place(job_id, kept.path)))

    def resolved(self, job_id: str, plan: Plan) -> Plan:
        """A job's plan, with its pictures where they can be read."""
        shots = list(plan.shots)
        for number, shot in enumerate(shots):
            if shot.request is not None:
                shots[number] = replace(shot, request=self.found(job_id, shot.request))
        return replace(plan, shots=tuple(shots))

    def found(self, job_id: str, request: VideoRequest) -> VideoRequest:
        """A request of a job, with its pictures and its source where they can be read."""
        own = tuple(replace(one, image=self.picture(job_id, one.image)) for one in request.keyframes)
        source = None if request.source is None else self.picture(job_id, request.source)
        return replace(request, keyframes=own, source=source)

    async def copy(self, job_id: str, name: str, source: Path) -> None:
        """Gives a job a file of another, without copying what is in it: files never change. Raises as `save`."""
        try:
            await asyncio.to_thread(_link, source, self.place(job_id, name))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise no_room() from error

    async def settle(self, job_id: str, name: str) -> None:
        """Gives a file that was written aside, and flushed, its name."""
        path = self.place(job_id, name)
        await asyncio.to_thread(path.with_name(name + ".part").rename, path)
        await asyncio.to_thread(flush, path.parent)

    async def tidy(self, job_id: str) -> None:
        """Removes what the film is made of; it stays, with its thumbnail and the pictures of the request."""
        for path in await asyncio.to_thread(lambda: list(self._folder(job_id).iterdir())):
            if path.name not in (FILM, THUMBNAIL, FACTS, HEARD) and not path.name.startswith("key-"):
                await asyncio.to_thread(path.unlink, missing_ok=True)

    async def remove(self, *job_ids: str) -> None:
        """Removes all files of jobs; those that are gone already are no error."""
        for job_id in job_ids:
            await asyncio.to_thread(shutil.rmtree, self._folder(job_id), ignore_errors=True)

    def held_bytes(self, job_ids: Iterable[str]) -> int:
        """What lies in the folders of jobs."""
        found = 0
        for job_id in job_ids:
            with suppress(FileNotFoundError):  # removed meanwhile
                found += sum(path.stat().st_size for path in self._folder(job_id).iterdir())
        return found

    def folders(self, before: float) -> set[str]:
        """Ids of all jobs that have files, and had some before a moment."""
        found: set[str] = set()
        for path in self._directory.iterdir():
            if ID.fullmatch(path.name) and path.stat().st_mtime < before:
                found.add(path.name)
        return found

    def _folder(self, job_id: str) -> Path:
        if not ID.fullmatch(job_id):
            raise ValueError(job_id)
        return self._directory / job_id


def _save(path: Path, data: bytes) -> None:
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        flush(path.parent.parent)
    write(path, data)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    flush(target.parent.parent)
    target.unlink(missing_ok=True)
    target.hardlink_to(source)
    flush(target.parent)
