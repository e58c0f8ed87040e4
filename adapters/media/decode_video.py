"""Untrusted videos to clips of ours: the only decoder of uploaded videos.

A video can name other files, claim any size, hold days of frames in a few kilobytes, change its size midway, and have
each of FFmpeg's hundreds of decoders run. So the container is recognised here, from its first bytes; FFmpeg is told
which one it is, reads it from an open file, and may open nothing else nor run another decoder than five; and frames,
pixels and time are counted while they are decoded. It runs in a process of its own, under limits of the kernel
(`orders.py`). Nothing here knows a model.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any

import av
from av.error import FFmpegError, InvalidDataError
from PIL import Image

from adapters.errors import InvalidMedia
from adapters.media.decode_audio import Deadline, Source
from adapters.media.join_video import fitted
from adapters.media.mp4_writer import Mp4Writer

if TYPE_CHECKING:
    from av.container import InputContainer

DECODERS = "h264,hevc,vp8,vp9,libdav1d"
"""FFmpeg's names of the codecs that may be run; no sound is decoded here."""
MAX_PIXELS = 4096 * 2304
"""Of one frame."""
KEPT_PIXELS = 2048 * 2048
"""Of one frame of the clip; larger ones are made smaller. It is the most that a model may be asked for."""
MIN_SIDE = 16
MAX_FPS = 120
TOLERANCE = Fraction(1, 1000)
"""Seconds: containers keep times in milliseconds, or worse."""

_ADVICE = "Send mp4, mov or webm with H.264, H.265, VP8, VP9 or AV1."
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True, slots=True)
class Footage:
    """What was taken of an upload."""

    width: int
    height: int
    num_frames: int
    fps: int
    has_sound: bool


def take_video(source: str, target: str, *, max_frames: int, deadline_s: float, param: str = "video") -> Footage:
    """Writes an upload as `Mp4Writer` does: H.264, a whole number of frames a second, square pixels, upright, mute.

    Each frame is shown from its own time to the next one's, rounded to the new rate: as long as the upload was.

    Args:
        source: Path of the upload. Its name and claimed media type are not believed.
        target: Where it goes; another file appears beside it meanwhile.
        max_frames: The most that the clip may have.
        deadline_s: Seconds of wall clock after which decoding is given up.
        param: The request's field that `InvalidMedia` names.

    Raises:
        InvalidMedia: No video, not a known format, damaged, too large, too long, or too slow to decode.
    """
    deadline = Deadline(deadline_s, "video")
    with _refusing(param), ExitStack() as stack:
        file = stack.enter_context(open(source, "rb"))
        container = stack.enter_context(_open(Source(file, deadline), _sniff(file)))
        if not container.streams.video:
            raise InvalidMedia("The file has no pictures.")
        stream: Any = container.streams.video[0]
        if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS.split(","):
            raise InvalidMedia(f"The video is in a codec that cannot be read here. {_ADVICE}")
        stream.codec_context.thread_count = 2
        fps = _rate(stream)
        size = (0, 0)
        writer = Mp4Writer(target, fps, None)
        stack.callback(writer.abort)
        for frame in _steady(_frames(container, stream, deadline), fps, max_frames):
            upright = _upright(frame, stream.sample_aspect_ratio or Fraction(1))
            size = size if size[0] else _kept(upright.width, upright.height)
            writer.add(fitted(upright, size))
        if not size[0]:
            raise InvalidMedia("The video is empty or damaged: no picture could be decoded.")
        width, height, count = writer.close()
        return Footage(width, height, count, fps, bool(container.streams.audio))


def _kept(width: int, height: int) -> tuple[int, int]:
    """The size of the clip: even sides."""
    scale = min(1.0, math.sqrt(KEPT_PIXELS / (width * height)))
    return int(width * scale) // 2 * 2, int(height * scale) // 2 * 2


def _sniff(file: IO[bytes]) -> str:
    """FFmpeg's name of the container, judged by its first bytes; leaves the file at its start."""
    head = file.read(16)
    file.seek(0)
    if not head:
        raise InvalidMedia("The file is empty.")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    raise InvalidMedia(f"The file is not a video in a format that can be read here. {_ADVICE}")


def _open(source: Source, demuxer: str) -> "InputContainer":
    """The container, with every door shut but the one that it came through."""
    return av.open(
        source,
        "r",
        format=demuxer,
        options={
            "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm",
            "protocol_whitelist": "none",
            "codec_whitelist": DECODERS,
            "max_streams": "32",
            "max_pixels": str(MAX_PIXELS),
        },
        metadata_errors="ignore",
    )


def _rate(stream: Any) -> int:
    """Frames a second as a whole number: the rate at which all frames have a place, where that is a rate at all."""
    rate, usual = stream.guessed_rate, stream.average_rate or Fraction(24)
    if not rate or not 0 < rate <= MAX_FPS + 0.5:
        rate = usual
    if not 0 < rate <= MAX_FPS + 0.5:
        raise InvalidMedia(f"The video has {float(rate):g} frames a second; at most {MAX_FPS} are taken.")
    return max(1, round(rate))


def _frames(container: "InputContainer", stream: Any, deadline: Deadline) -> Iterator["av.VideoFrame"]:
    """The pictures as they are decoded. Damaged packets are passed over."""
    good = bad = 0
    for packet in container.demux(stream):
        deadline.check()
        if packet.has_sidedata("encryption_info"):
            raise InvalidMedia("The video is encrypted. Send it without copy protection.")
        try:
            frames = packet.decode()
            good += 1
        except InvalidDataError:
            bad += 1
            continue
        for frame in frames:
            deadline.check()
            if not isinstance(frame, av.VideoFrame):
                continue
            if not 0 < frame.width * frame.height <= MAX_PIXELS or min(frame.width, frame.height) < MIN_SIDE:
                raise InvalidMedia(
                    f"The video's frames are {frame.width} x {frame.height} pixels; sides of {MIN_SIDE} and more, and "
                    f"at most {MAX_PIXELS:,} pixels in all are taken."
                )
            yield frame
    if bad > good:
        raise InvalidMedia("The video is damaged: most of it cannot be decoded.")


def _steady(frames: Iterator["av.VideoFrame"], fps: int, max_frames: int) -> Iterator["av.VideoFrame"]:
    """The pictures at a constant rate: some are shown twice, and some not at all."""
    shown, begin, last_at, step = 0, None, Fraction(-1), Fraction(1, fps)
    held: av.VideoFrame | None = None
    for frame in frames:
        at = last_at + step if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
        begin = at if begin is None else begin
        at = max(at - begin, last_at)
        due = round((at + TOLERANCE) * fps)
        if due > max_frames:
            raise InvalidMedia(f"The video is longer than {max_frames} frames.")
        while held is not None and shown < due:
            yield held
            shown += 1
        held, last_at = frame, at
    if held is None:
        return
    duration = held.duration * held.time_base if held.duration and held.time_base else step
    due = max(shown + 1, round((last_at + duration - TOLERANCE) * fps))
    if due > max_frames:
        raise InvalidMedia(f"The video is longer than {max_frames} frames.")
    while shown < due:
        yield held
        shown += 1


def _upright(frame: "av.VideoFrame", aspect: Fraction) -> "av.VideoFrame":
    """The picture as players show it: turned as a telephone was held, its pixels square."""
    turn = _TURNS.get(round(frame.rotation) % 360)
    wide = aspect != 1 and Fraction(1, 4) <= aspect <= 4
    if turn is None and not wide:
        return frame
    picture = frame.to_image()
    if wide:
        width = round(picture.width * aspect)
        if width * picture.height > MAX_PIXELS:
            raise InvalidMedia(f"The video has more than {MAX_PIXELS:,} pixels a frame.")
        picture = picture.resize((max(MIN_SIDE, width), picture.height), Image.Resampling.LANCZOS)
    return av.VideoFrame.from_image(picture if turn is None else picture.transpose(turn))


@contextmanager
def _refusing(param: str) -> Iterator[None]:
    """FFmpeg's and the file system's errors as `InvalidMedia`; its own gain the field's name."""
    try:
        yield
    except InvalidMedia as error:
        raise InvalidMedia(error.message, param=param) from error.__cause__
    except (FFmpegError, ValueError, OverflowError, EOFError) as error:
        if isinstance(error, OSError) and error.errno in (27, 28, 122):  # no room for the clip: EFBIG, ENOSPC, EDQUOT
            raise
        raise InvalidMedia(
            f"The video is damaged or not in a format that can be read here. {_ADVICE}", param=param
        ) from error
