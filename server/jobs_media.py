"""Cutting and joining clips, in a process of its own: the server decodes nothing, and joining takes a while."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapters.errors import GenerationFailed
from compat.errors import RequestError

PROGRAM = "adapters.media.joining"
DEADLINE_S = 600.0
STOP_S = 5.0


class Joined(msgspec.Struct):
    """What a joined film is."""

    width: int
    height: int
    num_frames: int


class Reply(msgspec.Struct):
    """What the process says at its end: one of these."""

    joined: Joined | None = None
    error: str | None = None
    full: bool = False


async def join(spans: Sequence[tuple[Path, int, int]], fps: int, target: Path) -> Joined:
    """One MP4 of pieces of others.

    Args:
        spans: Clip, its first frame that is shown, and how many.
        fps: Frames a second of the film.
        target: Where it goes; flushed, and not renamed.

    Raises:
        GenerationFailed: A clip cannot be read, is too short, or has another size than the first.
        RequestError: 503 `insufficient_storage`.
    """
    clips = [[str(path), first, count] for path, first, count in spans]
    reply = await _run({"do": "join", "clips": clips, "fps": fps, "target": str(target)})
    if reply.joined is None:
        raise GenerationFailed("The clips were not joined.")
    return reply.joined


async def cut(clip: Path, frame: int, target: Path) -> None:
    """One frame of a clip as a PNG. Raises as `join`."""
    await _run({"do": "cut", "clip": str(clip), "frame": frame, "target": str(target)})


async def _run(order: dict[str, Any]) -> Reply:
    # Its standard input stays open for as long as we live: the process ends when that ends.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        async with asyncio.timeout(DEADLINE_S):
            said = await process.stdout.read()
            status = await process.wait()
    except TimeoutError:
        raise GenerationFailed("The film was not joined in time.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.wait_for(asyncio.shield(process.wait()), STOP_S)
        process.stdin.close()
    if status != 0 or not said:
        raise GenerationFailed(f"The process that joins clips ended with status {status}.")
    reply = msgspec.json.decode(said, type=Reply)
    if reply.full:
        raise RequestError("There is no room to store the video.", code="insufficient_storage", status=503)
    if reply.error is not None:
        raise GenerationFailed(reply.error)
    return reply
