"""Decoding, joining and converting media in a process per operation (`adapters/media/worker.py`).

The server itself decodes no uploads, and joining clips takes a while.
"""

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapters.errors import GenerationFailed, InvalidMedia
from adapters.pool.fair_share import FairSlots
from adapters.process import one_shot
from compat.errors import storage_error

PROGRAM = "adapters.media.worker"
TIMEOUT_S = 600.0
CONVERT_TIMEOUT_S = 300.0
"""For decoding an upload and encoding it again."""
MAX_CONVERSIONS = 3
"""Uploads that are converted at the same time; further ones wait."""
MAX_CALLER_CONVERSIONS = 2
"""Those of one caller."""


class JoinedVideo(msgspec.Struct):
    """The size and length of a joined video."""

    width: int
    height: int
    num_frames: int


class ClipInfo(msgspec.Struct):
    """The properties of an uploaded video after its conversion."""

    width: int
    height: int
    num_frames: int
    fps: int
    has_audio: bool


class Reply(msgspec.Struct):
    """The reply of the process: one of these fields, or none."""

    joined: JoinedVideo | None = None
    converted: ClipInfo | None = None
    error: str | None = None
    invalid: str | None = None
    full: bool = False


_conversions = FairSlots(MAX_CONVERSIONS, per_caller=MAX_CALLER_CONVERSIONS)


async def join(
    spans: Sequence[tuple[Path, int, int]],
    fps: int,
    target: Path,
    *,
    soundtrack: Path | None = None,
    size: tuple[int, int] | None = None,
) -> JoinedVideo:
    """Joins clips into one MP4.

    Args:
        spans: Clip, its first frame that is used, and the number of frames.
        fps: Frames per second of the video.
        target: The file to write. It is flushed, and not renamed when it ends in `.part`.
        soundtrack: A file of `convert_audio` or `mix_soundtrack`; cut to the length of the video.
        size: (width, height) of the video. None: that of the first clip, which all clips must have.

    Raises:
        GenerationFailed: A clip cannot be read, is too short, or has another size than the first.
        RequestError: 503 `insufficient_storage`.
    """
    clips = [[str(path), first, count] for path, first, count in spans]
    sound = "" if soundtrack is None else str(soundtrack)
    order = {"command": "join", "clips": clips, "fps": fps, "soundtrack": sound, "size": size, "target": str(target)}
    reply = await _run(order)
    if reply.joined is None:
        raise GenerationFailed("The clips of the video could not be joined.")
    return reply.joined


async def add_soundtrack(clip: Path, soundtrack: Path, fps: int, num_frames: int, target: Path) -> None:
    """Writes a clip with a soundtrack. `target` and errors as for `join`."""
    order = {"command": "add_soundtrack", "clip": str(clip), "soundtrack": str(soundtrack)} | {
        "fps": fps,
        "num_frames": num_frames,
    }
    await _run({**order, "target": str(target)})


async def mix_soundtrack(pieces: Sequence[tuple[Path | None, int, int]], fps: int, target: Path) -> None:
    """Joins the audio of clips into one soundtrack, for `join` and `add_soundtrack`.

    Args:
        pieces: The audio of each clip (None is silence), its first frame that is used, and the number of frames.
        fps: Frames per second.
        target: The file to write.

    Raises:
        GenerationFailed: An audio file cannot be read.
        RequestError: 503 `insufficient_storage`.
    """
    rows = [["" if path is None else str(path), first, count] for path, first, count in pieces]
    order = {"command": "join_soundtracks", "clips": rows, "fps": fps, "target": str(target)}
    await _run({**order, "deadline_s": CONVERT_TIMEOUT_S})


async def extract_frame(clip: Path, frame: int, target: Path) -> None:
    """Writes one frame of a clip as a PNG. Raises as `join`."""
    await _run({"command": "frame", "clip": str(clip), "frame": frame, "target": str(target)})


async def make_spritesheet(clip: Path, num_frames: int, target: Path) -> None:
    """Writes an overview of a video's frames as a JPEG. Raises as `join`."""
    await _run({"command": "contact_sheet", "clip": str(clip), "num_frames": num_frames, "target": str(target)})


async def convert_video(source: Path, target: Path, *, max_frames: int, param: str) -> ClipInfo:
    """Converts an uploaded video into a clip.

    Args:
        source: The upload.
        target: The file to write.
        max_frames: The most frames that it may have.
        param: The request's field that it was sent in.

    Raises:
        InvalidMedia: It cannot be converted; the message says why.
        RequestError: 503 `insufficient_storage`.
    """
    order = {"command": "convert_video", "source": str(source), "target": str(target), "max_frames": max_frames}
    async with _conversions.slot():
        reply = await _run({**order, "param": param, "deadline_s": CONVERT_TIMEOUT_S}, param)
    if reply.converted is None:
        raise InvalidMedia(f"Invalid '{param}': the video cannot be decoded. Send an MP4 or WebM file.", param=param)
    return reply.converted


async def convert_audio(source: Path, target: Path, *, max_seconds: float, param: str) -> None:
    """Converts uploaded audio into a soundtrack of at most `max_seconds`. Arguments and errors as `convert_video`."""
    order = {"command": "convert_audio", "source": str(source), "target": str(target), "max_seconds": max_seconds}
    async with _conversions.slot():
        await _run({**order, "param": param, "deadline_s": CONVERT_TIMEOUT_S}, param)


async def _run(order: dict[str, Any], param: str | None = None) -> Reply:
    """Runs the process. When it decodes an upload (`param`) and dies without a reply, the upload is at fault."""
    pipe = asyncio.subprocess.PIPE
    async with one_shot.started(PROGRAM, stdin=pipe, stdout=pipe) as process:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                output, _ = await process.communicate(msgspec.json.encode(order) + b"\n")
        except TimeoutError:
            raise GenerationFailed(f"Processing the video took longer than {TIMEOUT_S:g} s.") from None
    status = process.returncode
    if status != 0 or not output:
        if param is not None:
            raise InvalidMedia(
                f"Invalid '{param}': it cannot be decoded (the decoder ended with status {status}). Send another file.",
                param=param,
            )
        raise GenerationFailed(f"The process that joins the video's clips ended with status {status}.")
    reply = msgspec.json.decode(output, type=Reply)
    if reply.full:
        raise storage_error(OSError(errno.ENOSPC, "the media process found the disk full"))
    if reply.invalid is not None:
        raise GenerationFailed(reply.invalid) if param is None else InvalidMedia(reply.invalid, param=param)
    if reply.error is not None:
        raise GenerationFailed(reply.error)
    return reply
