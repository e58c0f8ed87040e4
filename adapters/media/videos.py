"""Frames to an MP4 file that every browser and player can show."""

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.error import FFmpegError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BT709 = 1
"""ITU-T H.273: the number of this colour space in primaries, transfer and matrix alike."""


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
    # Room for the index is kept free at the start: FFmpeg's "faststart" would have to open the output again by name.
    # 64 bytes a frame are more than its tables need (sizes, times, reordering, keyframes, chunks).
    options = {"moov_size": str(8192 + 64 * count)}
    with av.open(out, "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # x264's result depends on how many threads it has. And with its macroblock tree, 30 small frames came out in
        # six versions in 400 runs on a busy machine, with one thread too; without it, in one version in 2,500 runs.
        stream.options = {"preset": "veryfast", "crf": "18", "threads": "4", "x264-params": "mbtree=0"}
        context = stream.codec_context
        context.time_base = Fraction(1, fps)
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = 1  # 16..235, as players expect.
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=1)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def join_mp4(clips: Sequence[tuple[str, int, int]], fps: int, target: str) -> tuple[int, int, int]:
    """Writes pieces of MP4 files as one, encoded as `encode_mp4` does; one frame at a time is in memory.

    Args:
        clips: Path, first frame that is shown, and how many; paths are the server's own.
        fps: Frames per second of the whole, whatever the clips' own is: a frame stays a frame.
        target: Where it goes.

    Returns:
        (width, height, frames).

    Raises:
        ValueError: A clip is no video, has fewer frames, or another size than the first one.
    """
    count = sum(wanted for _, _, wanted in clips)
    size: tuple[int, int] | None = None
    with av.open(target, "w", format="mp4", options={"moov_size": str(8192 + 64 * count)}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.options = {"preset": "veryfast", "crf": "18", "threads": "4", "x264-params": "mbtree=0"}
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = 1
        number = 0
        for path, first, wanted in clips:
            for frame in _frames(path, first, wanted):
                if size is None:
                    size = frame.width, frame.height
                    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
                    context.time_base = Fraction(1, fps)
                if (frame.width, frame.height) != size:
                    raise ValueError(f"a clip is {frame.width}x{frame.height}, and the first one {size[0]}x{size[1]}")
                shown = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=1)
                shown.pts, shown.time_base, shown.pict_type = number, Fraction(1, fps), 0
                container.mux(stream.encode(shown))
                number += 1
        if size is None:
            raise ValueError("there is nothing to join")
        container.mux(stream.encode(None))
    return *size, number


def frame_of(path: str, index: int) -> "NDArray[np.uint8]":
    """One frame of an MP4 file: uint8 [height, width, 3], RGB.

    Raises:
        ValueError: It is no video, or has fewer frames.
    """
    frame: Any = next(_frames(path, index, 1)).to_ndarray(format="rgb24")
    return frame


def _frames(path: str, first: int, wanted: int) -> "Iterator[av.VideoFrame]":
    """Exactly so many frames of a file."""
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
