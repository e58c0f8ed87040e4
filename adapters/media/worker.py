"""Work on films, as a process of its own: one order on standard input, one reply on standard output.

`server/videos/media_process.py` starts it. What is decoded here cannot harm the server, and what is computed here does
not block its event loop.
"""

import errno
import json
import os
import resource
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from adapters.errors import InvalidMedia
from adapters.files import sync
from adapters.media.decode_image import encode_image
from adapters.media.decode_video import take_video
from adapters.media.join_video import frame_of, join_mp4, sheet_of
from adapters.media.mp4_writer import dub
from adapters.media.soundtrack import mix_sounds, take_sound

TAKE_BYTES = 4 * 2**30
"""Of address space, where an upload is decoded."""
TAKE_SECONDS = 900
"""Of CPU, there."""


def _join(order: dict[str, Any], part: Path) -> dict[str, Any]:
    clips = [(str(path), int(first), int(count)) for path, first, count in order["clips"]]
    size = (int(order["size"][0]), int(order["size"][1])) if order["size"] else None
    width, height, frames = join_mp4(clips, int(order["fps"]), str(part), sound=order["sound"], size=size)
    return {"film": {"width": width, "height": height, "num_frames": frames}}


def _dub(order: dict[str, Any], part: Path) -> dict[str, Any]:
    dub(order["clip"], order["sound"], int(order["fps"]), int(order["num_frames"]), str(part))
    return {}


def _mix(order: dict[str, Any], part: Path) -> dict[str, Any]:
    pieces = [(str(path), int(first), int(count)) for path, first, count in order["pieces"]]
    mix_sounds(pieces, int(order["fps"]), str(part), deadline_s=float(order["deadline_s"]))
    return {}


def _cut(order: dict[str, Any], part: Path) -> dict[str, Any]:
    picture = Image.fromarray(frame_of(order["clip"], int(order["frame"])))
    part.write_bytes(encode_image(picture, "image/png").data)
    return {}


def _sheet(order: dict[str, Any], part: Path) -> dict[str, Any]:
    part.write_bytes(encode_image(sheet_of(order["clip"], int(order["num_frames"])), "image/jpeg").data)
    return {}


def _take_video(order: dict[str, Any], part: Path) -> dict[str, Any]:
    _limit()
    most, deadline_s = int(order["max_frames"]), float(order["deadline_s"])
    return {
        "footage": asdict(
            take_video(order["source"], str(part), max_frames=most, deadline_s=deadline_s, param=order["param"])
        )
    }


def _take_sound(order: dict[str, Any], part: Path) -> dict[str, Any]:
    _limit()
    seconds, deadline_s = float(order["max_seconds"]), float(order["deadline_s"])
    take_sound(order["source"], str(part), max_seconds=seconds, deadline_s=deadline_s, param=order["param"])
    return {}


_ORDERS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "join": _join,
    "dub": _dub,
    "mix": _mix,
    "cut": _cut,
    "sheet": _sheet,
    "take_video": _take_video,
    "take_sound": _take_sound,
}


def _limit() -> None:
    """What the kernel keeps from a decoder that an upload has taken over or confused."""
    resource.setrlimit(resource.RLIMIT_AS, (TAKE_BYTES, TAKE_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (TAKE_SECONDS, TAKE_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _obey(order: dict[str, Any]) -> dict[str, Any]:
    target = Path(order["target"])
    part = target if target.suffix == ".part" else target.with_name(target.name + ".part")
    try:
        reply = _ORDERS[order["do"]](order, part)
        sync(part)
        if part != target:
            part.rename(target)
    except InvalidMedia as error:
        part.unlink(missing_ok=True)
        return {"invalid": error.message}
    except MemoryError:
        part.unlink(missing_ok=True)
        return {"invalid": "It takes too much memory to decode."}
    except (ValueError, OSError) as error:  # FFmpeg's errors are one or the other
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return {"full": True}
        return {"error": f"The clips cannot be joined: {error}"}
    return reply


def _die_with_parent() -> None:
    """Standard input ends when whoever started us does."""
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Obeys the order on standard input."""
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    sys.stdout.write(json.dumps(_obey(order)))
    sys.stdout.flush()
    os._exit(0)  # the thread is still reading


if __name__ == "__main__":
    main()
