"""The files of video jobs: one folder per job, with the media of the request, the clips of the shots, and the video.

All names are generated here. A file that exists is complete: it was written under another name, flushed, and renamed.
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
from adapters.files import create_file, sync, write_file
from compat.errors import storage_error
from compat.videos.plan import Plan
from server.storage.artifacts import SUFFIXES

VIDEO = "video.mp4"
THUMBNAIL = "video.png"
METADATA = "video.json"
"""`VideoMetadata` of the video. Written before the video itself."""
SPRITESHEET = "sheet.jpg"
"""An overview of the video's frames. Made when it is first requested."""
SOURCE = "key-source.mp4"
"""The source video of an edit."""
SOUNDTRACK = "key-sound.m4a"
"""The soundtrack that the request has brought; cut to the length of the video."""
GENERATED_SOUNDTRACK = "video.m4a"
"""The soundtrack that the model has generated, when the request has brought none."""
KEPT_PREFIX = "key-"
"""Media of the request, which stay when the video is finished."""
ID = re.compile("video_[0-9a-f]{30}")


def clip(index: int) -> str:
    """The file name of a shot's clip."""
    return f"clip-{index}.mp4"


def clip_audio(index: int) -> str:
    """The file name of the audio of a shot's clip, for models that generate audio."""
    return f"clip-{index}-sound"


class JobFiles:
    """The folders of all video jobs in a data directory, and the lock of the process that works on them."""

    def __init__(self, directory: Path) -> None:
        """Creates the directory, and a name for this server in it: jobs record which server has their files."""
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = directory / "server"
        create_file(name, secrets.token_hex(16).encode())
        self.server = name.read_text()
        self._lock = -1

    def claim(self) -> bool:
        """Takes the lock of these jobs, and holds it for the life of the process; False when another process has it.

        The kernel releases the lock of an ended process, whatever ended it.
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
        """Releases the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def save(self, job_id: str, name: str, data: bytes) -> str:
        """Writes a file of a job, completely or not at all, and returns its name.

        Raises:
            RequestError: 503 `insufficient_storage`, when the disk is full.
        """
        path = self._folder(job_id) / name
        writing = asyncio.create_task(asyncio.to_thread(_save, path, data))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:  # a thread cannot be stopped, and the folder may be removed after this
            await asyncio.wait([writing])
            raise
        except OSError as error:
            raise storage_error(error) from error
        return name

    async def save_image(self, job_id: str, index: int, image: Media) -> Media:
        """Saves an image of the request. The path of the returned media is the name in the job's folder."""
        name = f"{KEPT_PREFIX}{index}{SUFFIXES.get(image.media_type, '.bin')}"
        data = image.data or await asyncio.to_thread(Path(image.path).read_bytes)
        return Media(image.media_type, path=await self.save(job_id, name, data))

    def path(self, job_id: str, name: str) -> Path:
        """The path of a job's file, whether or not it exists."""
        return self._folder(job_id) / name

    def has(self, job_id: str, name: str) -> bool:
        """Whether a file exists, and so is complete."""
        return self.path(job_id, name).is_file()

    def with_paths(self, job_id: str, request: VideoRequest) -> VideoRequest:
        """A request of a job, whose images and source have their full paths."""
        keyframes = tuple(replace(one, image=self._media(job_id, one.image)) for one in request.keyframes)
        source = None if request.source is None else self._media(job_id, request.source)
        return replace(request, keyframes=keyframes, source=source)

    def plan_with_paths(self, job_id: str, plan: Plan) -> Plan:
        """A job's plan, whose images and sources have their full paths."""
        shots = list(plan.shots)
        for number, shot in enumerate(shots):
            if shot.request is not None:
                shots[number] = replace(shot, request=self.with_paths(job_id, shot.request))
        return replace(plan, shots=tuple(shots))

    async def copy(self, job_id: str, name: str, source: Path) -> None:
        """Gives a job a file of another job as a hard link, since files never change. Raises as `save`."""
        try:
            await asyncio.to_thread(_link, source, self.path(job_id, name))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise storage_error(error) from error

    async def finalize(self, job_id: str, name: str) -> None:
        """Renames a flushed file `NAME.part` to `NAME`."""
        path = self.path(job_id, name)
        await asyncio.to_thread(path.with_name(name + ".part").rename, path)
        await asyncio.to_thread(sync, path.parent)

    async def remove_clips(self, job_id: str) -> None:
        """Removes all files but the finished video, its thumbnail, and the media of the request."""
        for path in await asyncio.to_thread(lambda: list(self._folder(job_id).iterdir())):
            finished = path.name in (VIDEO, THUMBNAIL, METADATA, GENERATED_SOUNDTRACK)
            if not finished and not path.name.startswith(KEPT_PREFIX):
                await asyncio.to_thread(path.unlink, missing_ok=True)

    async def remove(self, *job_ids: str) -> None:
        """Removes all files of jobs. Jobs without files are ignored."""
        for job_id in job_ids:
            await asyncio.to_thread(shutil.rmtree, self._folder(job_id), ignore_errors=True)

    def size_bytes(self, job_ids: Iterable[str]) -> int:
        """The total size of the files of jobs."""
        total = 0
        for job_id in job_ids:
            with suppress(FileNotFoundError):  # removed meanwhile
                total += sum(path.stat().st_size for path in self._folder(job_id).iterdir())
        return total

    def folders(self, before: float) -> set[str]:
        """Ids of all jobs whose folder was last changed before a Unix time."""
        found: set[str] = set()
        for path in self._directory.iterdir():
            if ID.fullmatch(path.name) and path.stat().st_mtime < before:
                found.add(path.name)
        return found

    def _media(self, job_id: str, media: Media) -> Media:
        return Media(media.media_type, path=str(self.path(job_id, media.path)))

    def _folder(self, job_id: str) -> Path:
        if not ID.fullmatch(job_id):
            raise ValueError(job_id)
        return self._directory / job_id


def _save(path: Path, data: bytes) -> None:
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        sync(path.parent.parent)
    write_file(path, data)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    sync(target.parent.parent)
    target.unlink(missing_ok=True)
    target.hardlink_to(source)
    sync(target.parent)
