"""An MP4 as it is written: H.264 and AAC, its index at the start so that it plays while it downloads.

Everything here reads and writes files of our own making; uploads become such files in `footage.py` and `tracks.py`.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any, cast

import av
from av.error import FFmpegError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BT709 = 1
"""ITU-T H.273: the number of this colour space in primaries, transfer and matrix alike."""
_FRAME_ROOM = 64
"""Bytes of index that a frame needs at most (sizes, times, reordering, keyframes, chunks)."""
_SOUND_ROOM = 2048
"""The same of a second of sound: about 47 packets of AAC."""


class Mp4Writer:
    """A film that grows by frames. The same frames and sound give the same bytes."""

    def __init__(self, target: str | IO[bytes], fps: int, frames: int | None, sound: str = "") -> None:
        """Begins a film.

        Args:
            target: Where it goes.
            fps: Frames a second.
            frames: How many there will be. None: nobody knows, and the index comes last; such a film is mute.
            sound: Path of an MP4 sound of `tracks.take_sound`. What of it lies behind the last frame is left out.
        """
        self._fps = fps
        self._number = 0
        self._size = (0, 0)
        self._open = ExitStack()
        self._container: Any = self._open.enter_context(
            av.open(cast(Any, target), "w", format="mp4", options=_options(frames, fps, bool(sound)))
        )
        self._stream: Any = self._container.add_stream("libx264", rate=fps)
        # x264's result depends on how many threads it has. And with its macroblock tree, 30 small frames came out in
        # six versions in 400 runs on a busy machine, with one thread too; without it, in one version in 2,500 runs.
        self._stream.options = {"preset": "veryfast", "crf": "18", "threads": "4", "x264-params": "mbtree=0"}
        context = self._stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = 1  # 16..235, as players expect.
        self._sound = _Sound(self._container, sound, Fraction(frames, fps)) if sound and frames else None
        if self._sound is not None:
            self._open.callback(self._sound.close)

    def add(self, frame: "av.VideoFrame | NDArray[np.uint8]") -> None:
        """The next frame: a decoded one, or uint8 [height, width, 3], RGB; both sides even.

        Raises:
            ValueError: It has another size than the first one.
        """
        if not isinstance(frame, av.VideoFrame):
            frame = av.VideoFrame.from_ndarray(frame, format="rgb24")
        size = frame.width, frame.height
        if not self._number:
            self._size = size
            self._stream.width, self._stream.height, self._stream.pix_fmt = *size, "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, self._fps)
        if size != self._size:
            raise ValueError(f"a clip is {size[0]}x{size[1]}, and the first one {self._size[0]}x{self._size[1]}")
        shown = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=1)
        shown.pts, shown.time_base, shown.pict_type = self._number, Fraction(1, self._fps), 0
        self._container.mux(self._stream.encode(shown))
        self._number += 1
        if self._sound is not None:
            self._sound.write(Fraction(self._number, self._fps))

    def close(self) -> tuple[int, int, int]:
        """Writes what is left; returns (width, height, frames).

        Raises:
            ValueError: There was no frame.
        """
        with self._open:
            if not self._number:
                raise ValueError("a film has one frame at least")
            self._container.mux(self._stream.encode(None))
        return self._size[0], self._size[1], self._number

    def abort(self) -> None:
        """Ends a film that will never be whole."""
        self._open.close()


def dub(clip: str, sound: str, fps: int, frames: int, target: str) -> None:
    """Writes an MP4 of ours once more, with a sound beside its pictures, which stay as they are.

    Args:
        clip: Path of the film; a sound of its own is left out.
        sound: As of `Mp4Writer`.
        fps: Of the film.
        frames: That it has.
        target: Where it goes.

    Raises:
        ValueError: The clip cannot be read.
    """
    try:
        with (
            open(clip, "rb") as file,
            av.open(file, "r", format="mp4") as source,
            av.open(target, "w", format="mp4", options=_options(frames, fps, True)) as container,
        ):
            pictures = source.streams.video[0]
            stream = container.add_stream_from_template(pictures)
            track = _Sound(container, sound, Fraction(frames, fps))
            for packet in source.demux(pictures):
                if packet.dts is None:
                    continue
                packet.stream = stream
                track.write(packet.dts * cast(Fraction, packet.time_base))
                container.mux(packet)
            track.write(None)
            track.close()
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"a clip cannot be read: {error}") from error


class _Sound:
    """A sound that goes into a film packet by packet, as the film grows."""

    def __init__(self, container: Any, path: str, end: Fraction) -> None:
        self._source = av.open(path, "r", format="mp4")
        track = self._source.streams.audio[0]
        self._stream = container.add_stream_from_template(track)
        self._container = container
        self._end = end
        self._packets: Iterator[Any] = self._source.demux(track)
        self._next: Any = next(self._packets, None)

    def write(self, until: Fraction | None) -> None:
        """Writes what begins before a time, in seconds; None: all that the film has room for."""
        while self._next is not None and self._next.dts is not None:
            begin = self._next.pts * self._next.time_base
            if begin + self._next.duration * self._next.time_base > self._end:
                break  # a packet is heard whole or not at all: the film ends at most 21 ms behind it
            if until is not None and begin >= until:
                return
            self._next.stream = self._stream
            self._container.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._source.close()


def _options(frames: int | None, fps: int, sound: bool) -> dict[str, str]:
    # FFmpeg's "faststart" would have to open the output again by name: keep room free instead.
    if frames is None:
        return {}
    return {"moov_size": str(8192 + _FRAME_ROOM * frames + (_SOUND_ROOM * (frames // fps + 2) if sound else 0))}
