"""Reading untrusted audio and video files with FFmpeg: what both decoders share.

FFmpeg recognises playlists (ffconcat, HLS, DASH, SDP) that name other files and hosts, and decodes a small file into
days of silence. So the decoders detect the container from its first bytes, against a short list, and tell FFmpeg which
one it is. FFmpeg reads from an open file and may open nothing else, run no other codecs than those listed, and take no
longer than a deadline.
"""

import errno
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import av
from av.error import FFmpegError, InvalidDataError

from adapters.errors import InvalidMedia

if TYPE_CHECKING:
    from av.container import InputContainer

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the server's disk, not of the file that is read."""


class Deadline:
    """A point in monotonic time by which decoding must have finished."""

    def __init__(self, seconds: float, kind: str) -> None:
        """Starts the clock.

        Args:
            seconds: Wall clock seconds from now.
            kind: "audio" or "video", for the error message.
        """
        self._seconds = seconds
        self._kind = kind
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raises `InvalidMedia` once the deadline has passed."""
        if time.monotonic() > self._end:
            raise InvalidMedia(
                f"The {self._kind} could not be decoded within {self._seconds:g} seconds. Send a shorter one."
            )


class Source:
    """The file that FFmpeg reads from. Every access checks the deadline, so no demuxer can loop past it."""

    def __init__(self, file: IO[bytes], deadline: Deadline, start: int = 0) -> None:
        """Wraps an open file, from an offset on."""
        self._file = file
        self._deadline = deadline
        self._start = start
        file.seek(start)

    def read(self, size: int) -> bytes:
        """See `io.RawIOBase.read`."""
        self._deadline.check()
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """See `io.IOBase.seek`."""
        self._deadline.check()
        return self._file.seek(offset + (0 if whence else self._start), whence) - self._start

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._file.tell() - self._start


def open_container(
    source: Source, demuxer: str, *, formats: Sequence[str], codecs: str, **options: str
) -> "InputContainer":
    """Opens a container so that FFmpeg can reach nothing but its bytes.

    Args:
        source: The file.
        demuxer: FFmpeg's name of the container.
        formats: FFmpeg's names of all demuxers that may run.
        codecs: FFmpeg's names of all codecs that may run, separated by commas.
        options: Further options of FFmpeg's demuxers.
    """
    return av.open(
        source,
        "r",
        format=demuxer,
        options={
            "format_whitelist": ",".join(formats),
            "protocol_whitelist": "none",
            "codec_whitelist": codecs,
            "max_streams": "32",
            **options,
        },
        metadata_errors="ignore",
    )


def decode_stream(container: "InputContainer", stream: Any, deadline: Deadline, kind: str) -> Iterator[Any]:
    """The frames of a stream. Damaged packets are skipped.

    Args:
        container: The open container.
        stream: One of its streams.
        deadline: Checked for every packet and every frame.
        kind: "audio" or "video", for error messages.

    Raises:
        InvalidMedia: The stream is encrypted, mostly damaged, or takes too long.
    """
    good = bad = 0
    for packet in container.demux(stream):
        deadline.check()
        if packet.has_sidedata("encryption_info"):
            raise InvalidMedia(f"The {kind} is encrypted. Send it without copy protection.")
        try:
            frames = packet.decode()
            good += 1
        except InvalidDataError:
            bad += 1
            continue
        for frame in frames:
            deadline.check()
            yield frame
    if bad > good:
        raise InvalidMedia(f"The {kind} is damaged: most of it cannot be decoded.")


@contextmanager
def decode_errors(param: str, kind: str, advice: str) -> Iterator[None]:
    """Turns errors of FFmpeg and of the file system into `InvalidMedia` that names the request's field.

    Args:
        param: The request's field.
        kind: "audio" or "video".
        advice: A sentence that says which formats to send.
    """
    try:
        yield
    except InvalidMedia as error:
        raise InvalidMedia(error.message, param=param) from error.__cause__
    except (FFmpegError, OSError, ValueError, OverflowError, EOFError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise InvalidMedia(f"The {kind} is damaged, or its format is not supported. {advice}", param=param) from error
