"""Writing MP4: H.264 and AAC, with the index at the start so that it plays while it downloads.

All files read here were written by the server; `decode_video` and `soundtrack` convert uploads to such files.
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
"""ITU-T H.273: the code of this colour space, the same for primaries, transfer and matrix."""
_INDEX_BYTES_PER_FRAME = 64
"""Maximum index size of a frame (sizes, times, reordering, keyframes, chunks)."""
_INDEX_BYTES_PER_SECOND = 2048
"""Maximum index size of a second of audio: about 47 packets of AAC."""


class Mp4Writer:
    """Writes a video frame by frame. The same frames and soundtrack give the same bytes."""

    def __init__(self, target: str | IO[bytes], fps: int, frames: int | None, soundtrack: str = "") -> None:
        """Starts a video.

        Args:
            target: Path or open file.
            fps: Frames per second.
            frames: Number of frames. None: unknown; the index is then at the end, and there is no soundtrack.
            soundtrack: Path of a file of `soundtrack.convert_audio`. Audio after the last frame is left out.
        """
        self._fps = fps
        self._number = 0
        self._size = (0, 0)
        self._open = ExitStack()
        self._container: Any = self._open.enter_context(
            av.open(cast(Any, target), "w", format="mp4", options=_options(frames, fps, bool(soundtrack)))
        )
        self._stream: Any = self._container.add_stream("libx264", rate=fps)
        # x264's output depends on its number of threads. And with its macroblock tree, 30 small frames came out in
        # six versions in 400 runs on a busy machine, with one thread too; without it, in one version in 2,500 runs.
        self._stream.options = {"preset": "veryfast", "crf": "18", "threads": "4", "x264-params": "mbtree=0"}
        context = self._stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = 1  # 16..235, as players expect.
        self._soundtrack = (
            _Soundtrack(self._container, soundtrack, Fraction(frames, fps)) if soundtrack and frames else None
        )
        if self._soundtrack is not None:
            self._open.callback(self._soundtrack.close)

    def add(self, frame: "av.VideoFrame | NDArray[np.uint8]") -> None:
        """Encodes a frame: a decoded one, or uint8 [height, width, 3], RGB; both sides even.

        Raises:
            ValueError: Its size differs from the first frame's.
        """
        if not isinstance(frame, av.VideoFrame):
            frame = av.VideoFrame.from_ndarray(frame, format="rgb24")
        size = frame.width, frame.height
        if not self._number:
            self._size = size
            self._stream.width, self._stream.height, self._stream.pix_fmt = *size, "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, self._fps)
        if size != self._size:
            raise ValueError(f"a clip is {size[0]}x{size[1]}, but the first one {self._size[0]}x{self._size[1]}")
        converted = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=1)
        converted.pts, converted.time_base, converted.pict_type = self._number, Fraction(1, self._fps), 0
        self._container.mux(self._stream.encode(converted))
        self._number += 1
        if self._soundtrack is not None:
            self._soundtrack.write(Fraction(self._number, self._fps))

    def close(self) -> tuple[int, int, int]:
        """Finishes the file; returns (width, height, frames).

        Raises:
            ValueError: No frame was added.
        """
        with self._open:
            if not self._number:
                raise ValueError("a video must have at least one frame")
            self._container.mux(self._stream.encode(None))
        return self._size[0], self._size[1], self._number

    def abort(self) -> None:
        """Closes an incomplete file; no effect after `close`."""
        self._open.close()


def add_soundtrack(clip: str, soundtrack: str, fps: int, frames: int, target: str) -> None:
    """Writes a copy of an MP4 with a soundtrack; the video stream is not encoded again.

    Args:
        clip: Path of the video; its own audio, if any, is left out.
        soundtrack: As of `Mp4Writer`.
        fps: Frames per second of the video.
        frames: Number of its frames.
        target: Path of the copy.

    Raises:
        ValueError: The clip cannot be read.
    """
    try:
        with (
            open(clip, "rb") as file,
            av.open(file, "r", format="mp4") as source,
            av.open(target, "w", format="mp4", options=_options(frames, fps, True)) as container,
        ):
            video = source.streams.video[0]
            stream = container.add_stream_from_template(video)
            track = _Soundtrack(container, soundtrack, Fraction(frames, fps))
            for packet in source.demux(video):
                if packet.dts is None:
                    continue
                packet.stream = stream
                track.write(packet.dts * cast(Fraction, packet.time_base))
                container.mux(packet)
            track.write(None)
            track.close()
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"a clip cannot be read: {error}") from error


class _Soundtrack:
    """Copies audio packets into a container, interleaved with the video."""

    def __init__(self, container: Any, path: str, end: Fraction) -> None:
        self._source = av.open(path, "r", format="mp4")
        track = self._source.streams.audio[0]
        self._stream = container.add_stream_from_template(track)
        self._container = container
        self._end = end
        self._packets: Iterator[Any] = self._source.demux(track)
        self._next: Any = next(self._packets, None)

    def write(self, until: Fraction | None) -> None:
        """Copies packets that start before a time in seconds; None: all that end before the video does."""
        while self._next is not None and self._next.dts is not None:
            begin = self._next.pts * self._next.time_base
            if begin + self._next.duration * self._next.time_base > self._end:
                break  # packets cannot be cut: the audio ends at most 21 ms before the video
            if until is not None and begin >= until:
                return
            self._next.stream = self._stream
            self._container.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._source.close()


def _options(frames: int | None, fps: int, audio: bool) -> dict[str, str]:
    # FFmpeg's "faststart" would have to open the output again by name: reserve space instead.
    if frames is None:
        return {}
    audio_bytes = _INDEX_BYTES_PER_SECOND * (frames // fps + 2) if audio else 0
    return {"moov_size": str(8192 + _INDEX_BYTES_PER_FRAME * frames + audio_bytes)}
