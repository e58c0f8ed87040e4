"""Cuts and joins clips, as a process of its own: one order on standard input, one reply on standard output.

`server/jobs_media.py` starts it. What is decoded here cannot harm the server, and what is computed here does not hold
up its loop.
"""

import errno
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image

from adapters.media.images import encode_image
from adapters.media.videos import frame_of, join_mp4


def _obey(order: dict[str, Any]) -> dict[str, Any]:
    target = Path(order["target"])
    part = target if target.suffix == ".part" else target.with_name(target.name + ".part")
    try:
        if order["do"] == "join":
            clips = [(str(path), int(first), int(count)) for path, first, count in order["clips"]]
            width, height, frames = join_mp4(clips, int(order["fps"]), str(part))
            reply = {"joined": {"width": width, "height": height, "num_frames": frames}}
        else:
            picture = encode_image(Image.fromarray(frame_of(order["clip"], order["frame"])), "image/png")
            part.write_bytes(picture.data)
            reply = {}
        with part.open("rb") as file:
            os.fsync(file.fileno())
        if part != target:
            part.rename(target)
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
