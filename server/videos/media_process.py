"""Work on films and uploads, in a process for each order: the server decodes nothing, and joining takes a while."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapters.errors import GenerationFailed, InvalidMedia
from server.videos.files import no_room

PROGRAM = "adapters.media.worker"
DEADLINE_S = 600.0
TAKE_S = 300.0
"""An upload is decoded, and written anew, within this."""
STOP_S = 5.0
AT_ONCE = 2
"""Uploads that are decoded at the same time; the others wait."""


class Joined(msgspec.Struct):
    """What a joined film is."""

    width: int
    height: int
    num_frames: int


class Footage(msgspec.Struct):
    """What an uploaded video is, once it is a clip of ours."""

    width: int
    height: int
    num_frames: int
    fps: int
    has_audio: bool


class Reply(msgspec.Struct):
    """What the process says at its end: one of these, or nothing."""

    joined: Joined | None = None
    converted: Footage | None = None
    error: str | None = None
    invalid: str | None = None
    full: bool = False


_takes = asyncio.Semaphore(AT_ONCE)


async def join(
    spans: Sequence[tuple[Path, int, int]],
    fps: int,
    target: Path,
    *,
    sound: Path | None = None,
    size: tuple[int, int] | None = None,
) -> Joined:
    """One MP4 of pieces of others.

    Args:
        spans: Clip, its first frame that is shown, and how many.
        fps: Frames a second of the film.
        target: Where it goes; flushed, and not renamed.
        sound: Of `take_sound`: what of it the film has room for.
        size: (width, height) of the film; None: the first clip's, which all must have.

    Raises:
        GenerationFailed: A clip cannot be read, is too short, or has another size than the first.
        RequestError: 503 `insufficient_storage`.
    """
    clips = [[str(path), first, count] for path, first, count in spans]
    heard = "" if sound is None else str(sound)
    order = {"command": "join", "clips": clips, "fps": fps, "soundtrack": heard, "size": size, "target": str(target)}
    reply = await _run(order)
    if reply.joined is None:
        raise GenerationFailed("The clips were not joined.")
    return reply.joined


async def dub(clip: Path, sound: Path, fps: int, num_frames: int, target: Path) -> None:
    """A clip with a sound beside its pictures; goes to `target` as `join` does, and raises as it."""
    order = {
        "command": "add_soundtrack",
        "clip": str(clip),
        "soundtrack": str(sound),
        "fps": fps,
        "num_frames": num_frames,
    }
    await _run({**order, "target": str(target)})


async def mix(pieces: Sequence[tuple[Path | None, int, int]], fps: int, target: Path) -> None:
    """The sounds of clips as one track, for `join` and `dub`.

    Args:
        pieces: Each clip's sound, if it has one, its first frame that is shown, and how many.
        fps: Frames a second.
        target: Where it goes.

    Raises:
        GenerationFailed: One cannot be read.
        RequestError: 503 `insufficient_storage`.
    """
    told = [["" if path is None else str(path), first, count] for path, first, count in pieces]
    await _run({"command": "join_soundtracks", "clips": told, "fps": fps, "target": str(target), "deadline_s": TAKE_S})


async def cut(clip: Path, frame: int, target: Path) -> None:
    """One frame of a clip as a PNG. Raises as `join`."""
    await _run({"command": "frame", "clip": str(clip), "frame": frame, "target": str(target)})


async def sheet(clip: Path, num_frames: int, target: Path) -> None:
    """A film at one look, as a JPEG. Raises as `join`."""
    await _run({"command": "contact_sheet", "clip": str(clip), "num_frames": num_frames, "target": str(target)})


async def take_video(source: Path, target: Path, *, max_frames: int, param: str) -> Footage:
    """An upload as a clip of ours.

    Args:
        source: The upload.
        target: Where the clip goes.
        max_frames: The most that it may have.
        param: The request's field that it came in.

    Raises:
        InvalidMedia: It cannot be taken; the message says why.
        RequestError: 503 `insufficient_storage`.
    """
    order = {"command": "convert_video", "source": str(source), "target": str(target), "max_frames": max_frames}
    async with _takes:
        reply = await _run({**order, "param": param, "deadline_s": TAKE_S}, param)
    if reply.converted is None:
        raise InvalidMedia("The video cannot be decoded.", param=param)
    return reply.converted


async def take_sound(source: Path, target: Path, *, max_seconds: float, param: str) -> None:
    """An upload as a sound track; what lies behind `max_seconds` is left out. Arguments and errors as `take_video`."""
    order = {"command": "convert_audio", "source": str(source), "target": str(target), "max_seconds": max_seconds}
    async with _takes:
        await _run({**order, "param": param, "deadline_s": TAKE_S}, param)


async def _run(order: dict[str, Any], param: str | None = None) -> Reply:
    """What the process says. Where it decodes an upload, its end without a word is the upload's fault."""
    # Its standard input stays open for as long as we live: the process ends when that ends.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", PROGRAM), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        async with asyncio.timeout(DEADLINE_S):
            said = await process.stdout.read()
            status = await process.wait()
    except TimeoutError:
        raise GenerationFailed("The film was not made in time.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.wait_for(asyncio.shield(process.wait()), STOP_S)
        process.stdin.close()
    if status != 0 or not said:
        if param is not None:
            raise InvalidMedia(f"It cannot be decoded: that ended with status {status}.", param=param)
        raise GenerationFailed(f"The process that works on films ended with status {status}.")
    reply = msgspec.json.decode(said, type=Reply)
    if reply.full:
        raise no_room()
    if reply.invalid is not None:
        raise GenerationFailed(reply.invalid) if param is None else InvalidMedia(reply.invalid, param=param)
    if reply.error is not None:
        raise GenerationFailed(reply.error)
    return reply
