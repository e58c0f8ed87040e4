"""Frames to films that every browser and player can show, and films of ours to frames, other films and pictures."""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import av
from av.error import FFmpegError
from PIL import Image, ImageOps

from adapters.media.mp4_writer import Mp4Writer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHEET_SIDE = 5
"""A sheet has so many pictures in a row, and so many rows."""
SHEET_WIDTH = 320
"""Pixels of a sheet's picture at most."""


def encode_mp4(frames: "NDArray[np.uint8]", fps: int) -> bytes:
    """An H.264 video, yuv420p, with its index at the start so that it plays while it downloads.

    The same frames give the same bytes, and as many frames come out as went in.

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


def join_mp4(
    clips: Sequence[tuple[str, int, int]],
    fps: int,
    target: str,
    *,
    sound: str = "",
    size: tuple[int, int] | None = None,
) -> tuple[int, int, int]:
    """Writes pieces of MP4 files as one, encoded as `encode_mp4` does; one frame at a time is in memory.

    Args:
        clips: Path, first frame that is shown, and how many; paths are the server's own.
        fps: Frames per second of the whole, whatever the clips' own is: a frame stays a frame.
        target: Where it goes.
        sound: Path of a sound, as of `Mp4Writer`.
        size: (width, height) that all frames are brought to: scaled to cover it, and cropped at the centre.

    Returns:
        (width, height, frames).

    Raises:
        ValueError: A clip is no video, has fewer frames, or another size than the first one and `size` is None.
    """
    count = sum(wanted for _, _, wanted in clips)
    shown = (frame for path, first, wanted in clips for frame in frames_of(path, first, wanted))
    return _write(
        Mp4Writer(target, fps, count, sound), shown if size is None else (fitted(frame, size) for frame in shown)
    )


def frame_of(path: str, index: int) -> "NDArray[np.uint8]":
    """One frame of an MP4 file: uint8 [height, width, 3], RGB.

    Raises:
        ValueError: It is no video, or has fewer frames.
    """
    frame: Any = next(frames_of(path, index, 1)).to_ndarray(format="rgb24")
    return frame


def frames_of(path: str, first: int, wanted: int) -> "Iterator[av.VideoFrame]":
    """Exactly so many frames of a file of ours.

    Raises:
        ValueError: It is no video, or has fewer frames.
    """
    left = wanted
    try:
        with open(path, "rb") as file, av.open(file, "r", format="mp4") as container:
            for number, frame in enumerate(container.decode(container.streams.video[0])):
                if left == 0:
                    return
                if number >= first:
                    left -= 1
                    yield frame
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"a clip cannot be read: {error}") from error
    if left:
        raise ValueError(f"a clip has {first + wanted - left} frames of {first + wanted}")


def reel(path: str, count: int, size: tuple[int, int]) -> list[Image.Image]:
    """So many of a film's first frames, in another size as `fitted` brings them to; the last is repeated.

    Args:
        path: A file of ours.
        count: How many are wanted.
        size: (width, height).

    Raises:
        ValueError: It is no video.
    """
    pictures: list[Image.Image] = []
    try:
        with open(path, "rb") as file, av.open(file, "r", format="mp4") as container:
            for frame in container.decode(container.streams.video[0]):
                if len(pictures) == count:
                    break
                pictures.append(fitted(frame, size).to_image())
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"a clip cannot be read: {error}") from error
    if not pictures:
        raise ValueError("a film has one frame at least")
    return pictures + pictures[-1:] * (count - len(pictures))


def fitted(frame: "av.VideoFrame", size: tuple[int, int]) -> "av.VideoFrame":
    """The frame in another size: scaled to cover it, and cropped at the centre."""
    if (frame.width, frame.height) == size:
        return frame
    picture = ImageOps.fit(frame.to_image(), size, Image.Resampling.LANCZOS)
    return av.VideoFrame.from_image(picture)


def sheet_of(path: str, frames: int) -> Image.Image:
    """A film at one look: up to 25 of its frames, evenly spread from the first to the last, in rows.

    Args:
        path: A file of ours.
        frames: How many it has.

    Raises:
        ValueError: It is no video, or has fewer frames.
    """
    most = SHEET_SIDE * SHEET_SIDE
    chosen = sorted({round(at * (frames - 1) / (most - 1)) for at in range(most)})
    columns = min(SHEET_SIDE, len(chosen))
    sheet: Image.Image | None = None
    wanted = dict(zip(chosen, range(len(chosen)), strict=True))
    for number, frame in enumerate(frames_of(path, 0, frames)):
        if (at := wanted.get(number)) is None:
            continue
        picture = frame.to_image()
        picture.thumbnail((SHEET_WIDTH, SHEET_WIDTH * 2), Image.Resampling.LANCZOS)
        if sheet is None:
            rows = -(-len(chosen) // columns)
            sheet = Image.new("RGB", (picture.width * columns, picture.height * rows))
        sheet.paste(picture, (at % columns * picture.width, at // columns * picture.height))
    if sheet is None:
        raise ValueError("a film has one frame at least")
    return sheet


def _write(writer: Mp4Writer, frames: "Iterable[Any]") -> tuple[int, int, int]:
    try:
        for frame in frames:
            writer.add(frame)
    except BaseException:
        writer.abort()
        raise
    return writer.close()
