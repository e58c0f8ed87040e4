"""Encoding frames as MP4, joining MP4 clips, and reading frames. All files read here were written by the server."""

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import av
from av.error import FFmpegError
from PIL import Image, ImageOps

from adapters.media.mp4_writer import Mp4Writer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHEET_SIDE = 5
"""Maximum number of rows and columns of a contact sheet."""
SHEET_WIDTH = 320
"""Maximum width of a frame in a contact sheet, in pixels."""


def encode_mp4(frames: "NDArray[np.uint8]", fps: int) -> bytes:
    """An H.264 video, yuv420p, with its index at the start so that it plays while it downloads.

    The same frames give the same bytes, and no frame is dropped or repeated.

    Args:
        frames: uint8 [frames, height, width, 3], RGB; both sides even, at least one frame.
        fps: Frames per second.

    Raises:
        ValueError: The frames have another shape or dtype, or `fps` is not positive.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != "uint8" or not frames.size:
        raise ValueError(f"frames must be uint8 [frames, height, width, 3], not {frames.dtype} {frames.shape}")
    count, height, width, _ = frames.shape
    if height % 2 or width % 2 or fps < 1:
        raise ValueError(f"sides must be even and fps positive, not {width}x{height} at {fps}")
    out = io.BytesIO()
    _write(Mp4Writer(out, fps, count), frames)
    return out.getvalue()


def join_clips(
    clips: Sequence[tuple[str, int, int]],
    fps: int,
    target: str,
    *,
    soundtrack: str = "",
    size: tuple[int, int] | None = None,
) -> tuple[int, int, int]:
    """Joins parts of MP4 files, encoded as `encode_mp4` does; one frame at a time is in memory.

    Args:
        clips: Path, index of the first frame, and number of frames of each part.
        fps: Frames per second of the result; the clips' own rates are ignored.
        target: Path of the result.
        soundtrack: Path of a soundtrack, as of `Mp4Writer`.
        size: (width, height) of the result: frames are scaled to cover it, and cropped at the centre. None: the size of
            the first clip, which all must have.

    Returns:
        (width, height, frames).

    Raises:
        ValueError: A clip is not a video, has too few frames, or a different size while `size` is None.
    """
    total = sum(count for _, _, count in clips)
    frames = (frame for path, first, count in clips for frame in read_frames(path, first, count))
    return _write(
        Mp4Writer(target, fps, total, soundtrack),
        frames if size is None else (resize_frame(frame, size) for frame in frames),
    )


def read_frame(path: str, index: int) -> "NDArray[np.uint8]":
    """One frame of an MP4 file: uint8 [height, width, 3], RGB.

    Raises:
        ValueError: It is not a video, or has too few frames.
    """
    frame: Any = next(read_frames(path, index, 1)).to_ndarray(format="rgb24")
    return frame


def read_frames(path: str, first: int, count: int) -> "Iterator[av.VideoFrame]":
    """Exactly `count` frames of an MP4 file that the server wrote.

    Raises:
        ValueError: It is not a video, or has too few frames.
    """
    left = count
    for number, frame in enumerate(_decode(path)):
        if left == 0:
            return
        if number >= first:
            left -= 1
            yield frame
    if left:
        raise ValueError(f"a clip has {first + count - left} frames instead of {first + count}")


def first_frames(path: str, count: int, size: tuple[int, int]) -> list[Image.Image]:
    """The first frames of a video, resized as `resize_frame` does; if there are too few, the last one is repeated.

    Args:
        path: An MP4 file that the server wrote.
        count: Number of frames.
        size: (width, height).

    Raises:
        ValueError: It is not a video.
    """
    images = [resize_frame(frame, size).to_image() for frame in islice(_decode(path), count)]
    if not images:
        raise ValueError("a video must have at least one frame")
    return images + images[-1:] * (count - len(images))


def resize_frame(frame: "av.VideoFrame", size: tuple[int, int]) -> "av.VideoFrame":
    """The frame in another size: scaled to cover it, and cropped at the centre."""
    if (frame.width, frame.height) == size:
        return frame
    image = ImageOps.fit(frame.to_image(), size, Image.Resampling.LANCZOS)
    return av.VideoFrame.from_image(image)


def contact_sheet(path: str, frames: int) -> Image.Image:
    """An overview of a video: up to 25 frames, evenly spread from the first to the last, in rows.

    Args:
        path: An MP4 file that the server wrote.
        frames: Number of its frames.

    Raises:
        ValueError: It is not a video, or has too few frames.
    """
    maximum = SHEET_SIDE * SHEET_SIDE
    chosen = sorted({round(at * (frames - 1) / (maximum - 1)) for at in range(maximum)})
    columns = min(SHEET_SIDE, len(chosen))
    sheet: Image.Image | None = None
    cells = dict(zip(chosen, range(len(chosen)), strict=True))
    for number, frame in enumerate(read_frames(path, 0, frames)):
        if (cell := cells.get(number)) is None:
            continue
        image = frame.to_image()
        image.thumbnail((SHEET_WIDTH, SHEET_WIDTH * 2), Image.Resampling.LANCZOS)
        if sheet is None:
            rows = -(-len(chosen) // columns)
            sheet = Image.new("RGB", (image.width * columns, image.height * rows))
        sheet.paste(image, (cell % columns * image.width, cell // columns * image.height))
    if sheet is None:
        raise ValueError("a video must have at least one frame")
    return sheet


def _decode(path: str) -> "Iterator[av.VideoFrame]":
    try:
        with open(path, "rb") as file, av.open(file, "r", format="mp4") as container:
            yield from container.decode(container.streams.video[0])
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"a clip cannot be read: {error}") from error


def _write(writer: Mp4Writer, frames: "Iterable[Any]") -> tuple[int, int, int]:
    try:
        for frame in frames:
            writer.add(frame)
    except BaseException:
        writer.abort()
        raise
    return writer.close()
