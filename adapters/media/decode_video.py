"""Untrusted videos to MP4 clips that the server wrote: the only decoder of uploaded videos.

A video can claim any size, hold days of frames in a few kilobytes, and change its size midway. So frames, pixels and
time are counted while they are decoded; `container` says what else protects the process. Decoding runs in a process of
its own with kernel limits (`worker`). Nothing here depends on a model.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any

import av
from PIL import Image

from adapters.errors import InvalidMedia
from adapters.media.container import Deadline, Source, decode_errors, decode_stream, open_container
from adapters.media.join_video import resize_frame
from adapters.media.mp4_writer import Mp4Writer

if TYPE_CHECKING:
    from av.container import InputContainer

DEMUXERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""FFmpeg's names of the supported containers."""
DECODERS = "h264,hevc,vp8,vp9,libdav1d"
"""FFmpeg's names of the supported codecs; audio is not decoded here."""
MAX_PIXELS = 4096 * 2304
"""Of one frame."""
MAX_CLIP_PIXELS = 2048 * 2048
"""Of one frame of the clip; larger frames are scaled down. This is the maximum that a request may ask a model for."""
MIN_SIDE = 16
MAX_FPS = 120
TOLERANCE = Fraction(1, 1000)
"""Seconds: containers store times in milliseconds, or less precisely."""

_ADVICE = "Send mp4, mov or webm with H.264, H.265, VP8, VP9 or AV1."
_ROTATIONS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True, slots=True)
class ConvertedVideo:
    """Properties of an upload after its conversion."""

    width: int
    height: int
    num_frames: int
    fps: int
    has_audio: bool
    """Whether the upload has an audio track; the clip has none."""


def convert_video(
    source: str, target: str, *, max_frames: int, deadline_s: float, param: str = "video"
) -> ConvertedVideo:
    """Writes an upload as an MP4: H.264, a whole number of frames per second, square pixels, upright, no audio.

    Each frame lasts from its own time to the next one's, rounded to the new rate, so the duration stays the same.

    Args:
        source: Path of the upload. Its name and claimed media type are not trusted.
        target: Path of the clip.
        max_frames: Maximum number of frames of the clip.
        deadline_s: Seconds of wall clock after which decoding stops with an error.
        param: The request's field that `InvalidMedia` names.

    Raises:
        InvalidMedia: No video, an unsupported format, damaged, too large, too long, or too slow to decode.
    """
    deadline = Deadline(deadline_s, "video")
    with decode_errors(param, "video", _ADVICE), ExitStack() as stack:
        file = stack.enter_context(open(source, "rb"))
        container = stack.enter_context(_open(Source(file, deadline), _detect_container(file)))
        if not container.streams.video:
            raise InvalidMedia(f"The file has no video track. {_ADVICE}")
        stream: Any = container.streams.video[0]
        if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS.split(","):
            raise InvalidMedia(f"The codec of the video track is not supported. {_ADVICE}")
        stream.codec_context.thread_count = 2
        fps = _frame_rate(stream)
        size = (0, 0)
        writer = Mp4Writer(target, fps, None)
        stack.callback(writer.abort)
        frames = map(_check_frame, decode_stream(container, stream, deadline, "video"))
        for frame in _constant_rate(frames, fps, max_frames):
            upright = _upright(frame, stream.sample_aspect_ratio or Fraction(1))
            size = size if size[0] else _clip_size(upright.width, upright.height)
            writer.add(resize_frame(upright, size))
        if not size[0]:
            raise InvalidMedia("The video is empty or damaged: no frame could be decoded.")
        width, height, count = writer.close()
        return ConvertedVideo(width, height, count, fps, bool(container.streams.audio))


def _clip_size(width: int, height: int) -> tuple[int, int]:
    """The size of the clip: even sides."""
    scale = min(1.0, math.sqrt(MAX_CLIP_PIXELS / (width * height)))
    return int(width * scale) // 2 * 2, int(height * scale) // 2 * 2


def _detect_container(file: IO[bytes]) -> str:
    """FFmpeg's name of the container, from its first bytes; rewinds the file."""
    head = file.read(16)
    file.seek(0)
    if not head:
        raise InvalidMedia(f"The file is empty. {_ADVICE}")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    raise InvalidMedia(f"The file is not a video in a supported format. {_ADVICE}")


def _open(source: Source, demuxer: str) -> "InputContainer":
    return open_container(source, demuxer, formats=DEMUXERS, codecs=DECODERS, max_pixels=str(MAX_PIXELS))


def _frame_rate(stream: Any) -> int:
    """Frames per second as a whole number: the rate that fits all timestamps, or else the average."""
    rate, average = stream.guessed_rate, stream.average_rate or Fraction(24)
    if not rate or not 0 < rate <= MAX_FPS + 0.5:
        rate = average
    if not 0 < rate <= MAX_FPS + 0.5:
        raise InvalidMedia(f"The video has {float(rate):g} frames per second; at most {MAX_FPS} are supported.")
    return max(1, round(rate))


def _check_frame(frame: Any) -> "av.VideoFrame":
    if not 0 < frame.width * frame.height <= MAX_PIXELS or min(frame.width, frame.height) < MIN_SIDE:
        raise InvalidMedia(
            f"The video's frames have {frame.width} x {frame.height} pixels; sides must have at least {MIN_SIDE} "
            f"pixels, and a frame at most {MAX_PIXELS:,} in total."
        )
    return frame


def _constant_rate(frames: Iterator["av.VideoFrame"], fps: int, max_frames: int) -> Iterator["av.VideoFrame"]:
    """The frames at a constant rate: some are repeated, some are dropped."""
    count, begin, last_at, step = 0, None, Fraction(-1), Fraction(1, fps)
    previous: av.VideoFrame | None = None
    for frame in frames:
        at = last_at + step if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
        begin = at if begin is None else begin
        at = max(at - begin, last_at)
        due = _check_length(round((at + TOLERANCE) * fps), max_frames)
        while previous is not None and count < due:
            yield previous
            count += 1
        previous, last_at = frame, at
    if previous is None:
        return
    duration = previous.duration * previous.time_base if previous.duration and previous.time_base else step
    due = _check_length(max(count + 1, round((last_at + duration - TOLERANCE) * fps)), max_frames)
    while count < due:
        yield previous
        count += 1


def _check_length(frames: int, max_frames: int) -> int:
    if frames > max_frames:
        raise InvalidMedia(f"The video is longer than the maximum of {max_frames} frames.")
    return frames


def _upright(frame: "av.VideoFrame", aspect: Fraction) -> "av.VideoFrame":
    """The frame as players show it: rotated by its metadata, with square pixels."""
    rotation = _ROTATIONS.get(round(frame.rotation) % 360)
    stretched = aspect != 1 and Fraction(1, 4) <= aspect <= 4
    if rotation is None and not stretched:
        return frame
    image = frame.to_image()
    if stretched:
        width = round(image.width * aspect)
        if width * image.height > MAX_PIXELS:
            raise InvalidMedia(f"The video's frames have more than {MAX_PIXELS:,} pixels. Send a smaller video.")
        image = image.resize((max(MIN_SIDE, width), image.height), Image.Resampling.LANCZOS)
    return av.VideoFrame.from_image(image if rotation is None else image.transpose(rotation))
