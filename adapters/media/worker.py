"""Work on video and audio files in a process of its own: one request on standard input, one reply on standard output.

`server/videos/media_process.py` starts it. A decoder that fails here cannot harm the server, and the work does not
block the server's event loop.
"""

import errno
import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from adapters.errors import InvalidMedia
from adapters.files import sync
from adapters.media.decode_image import encode_image
from adapters.media.decode_video import convert_video
from adapters.media.join_video import contact_sheet, join_clips, read_frame
from adapters.media.mp4_writer import add_soundtrack
from adapters.media.soundtrack import convert_audio, join_soundtracks

MAX_ADDRESS_SPACE = 4 * 2**30
"""Bytes, for a process that decodes an upload."""
MAX_CPU_SECONDS = 900
"""For a process that decodes an upload."""


def _join(request: dict[str, Any], target: Path) -> dict[str, Any]:
    clips = [(str(path), int(first), int(count)) for path, first, count in request["clips"]]
    size = (int(request["size"][0]), int(request["size"][1])) if request["size"] else None
    width, height, frames = join_clips(
        clips, int(request["fps"]), str(target), soundtrack=request["soundtrack"], size=size
    )
    return {"joined": {"width": width, "height": height, "num_frames": frames}}


def _add_soundtrack(request: dict[str, Any], target: Path) -> dict[str, Any]:
    fps, frames = int(request["fps"]), int(request["num_frames"])
    add_soundtrack(request["clip"], request["soundtrack"], fps, frames, str(target))
    return {}


def _join_soundtracks(request: dict[str, Any], target: Path) -> dict[str, Any]:
    clips = [(str(path), int(first), int(count)) for path, first, count in request["clips"]]
    join_soundtracks(clips, int(request["fps"]), str(target), deadline_s=float(request["deadline_s"]))
    return {}


def _frame(request: dict[str, Any], target: Path) -> dict[str, Any]:
    image = Image.fromarray(read_frame(request["clip"], int(request["frame"])))
    target.write_bytes(encode_image(image, "image/png").data)
    return {}


def _contact_sheet(request: dict[str, Any], target: Path) -> dict[str, Any]:
    sheet = contact_sheet(request["clip"], int(request["num_frames"]))
    target.write_bytes(encode_image(sheet, "image/jpeg").data)
    return {}


def _convert_video(request: dict[str, Any], target: Path) -> dict[str, Any]:
    _limit_resources()
    converted = convert_video(
        request["source"],
        str(target),
        max_frames=int(request["max_frames"]),
        deadline_s=float(request["deadline_s"]),
        param=request["param"],
    )
    return {"converted": asdict(converted)}


def _convert_audio(request: dict[str, Any], target: Path) -> dict[str, Any]:
    _limit_resources()
    convert_audio(
        request["source"],
        str(target),
        max_seconds=float(request["max_seconds"]),
        deadline_s=float(request["deadline_s"]),
        param=request["param"],
    )
    return {}


_COMMANDS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "join": _join,
    "add_soundtrack": _add_soundtrack,
    "join_soundtracks": _join_soundtracks,
    "frame": _frame,
    "contact_sheet": _contact_sheet,
    "convert_video": _convert_video,
    "convert_audio": _convert_audio,
}


def _limit_resources() -> None:
    """Limits what an upload that exploits or confuses a decoder can use."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run(request: dict[str, Any]) -> dict[str, Any]:
    target = Path(request["target"])
    part = target if target.suffix == ".part" else target.with_name(target.name + ".part")
    try:
        reply = _COMMANDS[request["command"]](request, part)
        sync(part)
        if part != target:
            part.rename(target)
    except InvalidMedia as error:
        part.unlink(missing_ok=True)
        return {"invalid": error.message}
    except MemoryError:
        part.unlink(missing_ok=True)
        return {"invalid": "The file needs too much memory to be decoded. Send a smaller one."}
    except (ValueError, OSError) as error:  # FFmpeg's errors are one or the other
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return {"full": True}
        return {"error": f"The video files could not be processed: {error}"}
    return reply


def main() -> None:
    """Runs the request on standard input."""
    request = json.loads(sys.stdin.buffer.readline())
    sys.stdout.write(json.dumps(_run(request)))
    sys.stdout.flush()
    os._exit(0)  # Nothing is left to clean up, so the libraries' own clean-up cannot fail either.


if __name__ == "__main__":
    main()
