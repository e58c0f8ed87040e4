"""Untrusted bytes to samples: the only decoder of uploaded sounds.

FFmpeg recognises playlists (ffconcat, HLS, DASH, SDP) that name other files and hosts, and decodes a small file into
days of silence. So the container is recognised here, from its first bytes and against a short list; FFmpeg is told
which one it is, reads it from memory or from a file that is already open, and may open nothing else; and samples are
counted while they are decoded. Nothing here knows a model.
"""

import io
import math
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.error import FFmpegError, InvalidDataError

from adapters.base import Media
from adapters.errors import InvalidMedia

if TYPE_CHECKING:
    from av.container import InputContainer
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Hz, of everything that `decode_audio` returns."""

DEMUXERS = ("aac", "flac", "matroska", "mov", "mp3", "ogg", "wav")
"""FFmpeg's names of the containers that may be read; a video file's sound track is read too."""

DECODERS = (
    "aac,aac_fixed,aac_latm,ac3,alac,eac3,flac,libopus,libvorbis,mp1float,mp2float,mp3,mp3float,opus,vorbis,adpcm_ima_wav,"
    "adpcm_ms,pcm_alaw,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,"
    "pcm_s32le,pcm_s8,pcm_u8"
)
"""FFmpeg's names of the codecs that may be run: sound only, so that no video decoder ever sees an upload here."""

SAMPLE_RATES = range(4_000, 768_001)
"""Hz, of what comes in. Beyond, resampling would be an amplifier: one sample at 1 Hz becomes 16,000."""

_ADVICE = "Send flac, m4a, mp3, mp4, ogg, wav or webm."


def decode_audio(
    media: Media, *, max_seconds: float, deadline_s: float, cut: bool = False, param: str = "file"
) -> "NDArray[np.float32]":
    """The sound as Whisper wants it.

    Args:
        media: A sound, or a video with a sound track. Its claimed media type is not believed.
        max_seconds: The longest sound that is accepted. Checked while decoding: no more than this is ever in memory.
        deadline_s: Seconds of wall clock after which decoding is given up.
        cut: Take the first `max_seconds` of a longer sound, instead of refusing it.
        param: The request's field that `InvalidMedia` names.

    Returns:
        float32 [samples], mono, 16 kHz, -1..1, at least one sample; 0.0 where the file holds NaN.

    Raises:
        InvalidMedia: No sound, not a known format, damaged, too long, or too slow to decode.
    """
    limit = math.floor(max_seconds * SAMPLE_RATE)
    samples = bytearray()
    for piece in decoded_sound(media, deadline_s=deadline_s, param=param):
        samples += piece
        if len(samples) // 4 > limit:
            if cut:
                break
            raise InvalidMedia(f"The sound is longer than {max_seconds:g} seconds.", param=param)
    return clean(np.frombuffer(samples, np.float32)[:limit])


def decoded_sound(
    media: Media, *, deadline_s: float, layout: str = "mono", rate: int = SAMPLE_RATE, param: str = "file"
) -> Generator[bytes]:
    """A sound of any length, piece by piece; whoever reads it counts. Arguments and errors as of `decode_audio`.

    Yields:
        Native float32 samples, the channels of each side by side. They may be NaN, and out of -1..1: see `clean`.
    """
    deadline = Deadline(deadline_s)
    with _refusing(param), ExitStack() as stack:
        source = io.BytesIO(media.data) if not media.path else stack.enter_context(open(media.path, "rb"))
        container = stack.enter_context(_open(Source(source, deadline), _sniff(source)))
        some = False
        for piece in _pieces(container, deadline, layout, rate):
            some = some or bool(piece)
            yield piece
        if not some:
            raise InvalidMedia("The sound track is empty or damaged: no sound could be decoded.")


def clean(sound: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """The samples with 0.0 where they are NaN, and clipped at -1..1; changed in place."""
    np.nan_to_num(sound, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(sound, -1.0, 1.0, out=sound)


def _sniff(source: IO[bytes]) -> str:
    """FFmpeg's name of the container, judged by its first bytes; leaves the source at its start."""
    head = source.read(16)
    if not head:
        raise InvalidMedia("The file is empty.")
    for _ in range(4):  # Tags before the sound, seldom more than one; sizes are in 7-bit digits (ID3v2.4, 3.1 and 6.2).
        if head[:3] != b"ID3" or len(head) < 10:
            break
        source.seek(sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)) - 6, 1)
        head = source.read(16)
    source.seek(0)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return "mov"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # The sync word of MPEG sound.
        return "aac" if head[1] & 0xF6 == 0xF0 else "mp3"  # Layer bits 00 mark AAC in ADTS frames.
    raise InvalidMedia(f"The file is not a sound in a format that can be read here. {_ADVICE}")


def _open(source: "Source", demuxer: str) -> "InputContainer":
    """The container, with every door shut but the one that it came through."""
    return av.open(
        source,
        "r",
        format=demuxer,
        options={
            "format_whitelist": ",".join((*DEMUXERS, "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")),
            "protocol_whitelist": "none",
            "codec_whitelist": DECODERS,
            "max_streams": "32",
        },
        metadata_errors="ignore",
    )


def _pieces(container: "InputContainer", deadline: "Deadline", layout: str, rate: int) -> Iterator[bytes]:
    """Native float32 samples as the first sound track is decoded. Damaged packets are passed over."""
    if not container.streams.audio:
        raise InvalidMedia("The file has no sound track.")
    stream = container.streams.audio[0]
    if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS.split(","):
        raise InvalidMedia(f"The sound track is in a codec that cannot be read here. {_ADVICE}")
    resampler: AudioResampler | None = None
    shape: tuple[str, str, int] | None = None
    good = bad = 0
    for packet in container.demux(stream):
        deadline.check()
        if packet.has_sidedata("encryption_info"):
            raise InvalidMedia("The sound is encrypted. Send it without copy protection.")
        try:
            frames = packet.decode()
            good += 1
        except InvalidDataError:
            bad += 1
            continue
        for frame in frames:
            deadline.check()
            if not isinstance(frame, AudioFrame) or frame.samples == 0:
                continue
            if (
                now := (frame.format.name, frame.layout.name, frame.sample_rate)
            ) != shape:  # Streams may change midway.
                yield from _flush(resampler)
                resampler, shape = _resampler(frame, layout, rate), now
            frame.pts = None  # Gaps and jumps in a file's clock are not to be filled or refused.
            if resampler is not None:
                yield from map(_bytes, resampler.resample(frame))
    yield from _flush(resampler)
    if bad > good:
        raise InvalidMedia("The sound is damaged: most of it cannot be decoded.")


def _resampler(frame: AudioFrame, layout: str, rate: int) -> AudioResampler:
    if frame.sample_rate not in SAMPLE_RATES:
        raise InvalidMedia(f"A sample rate of {frame.sample_rate} Hz cannot be read here.")
    return AudioResampler("flt", layout, rate)


def _flush(resampler: AudioResampler | None) -> Iterator[bytes]:
    return map(_bytes, resampler.resample(None)) if resampler is not None else iter(())


def _bytes(frame: AudioFrame) -> bytes:
    return bytes(frame.planes[0])[: frame.samples * 4 * frame.layout.nb_channels]  # Planes are padded.


class Deadline:
    """A point in monotonic time, until which something is to be decoded."""

    def __init__(self, seconds: float, what: str = "sound") -> None:
        self._seconds = seconds
        self._what = what
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raises `InvalidMedia` once it has passed."""
        if time.monotonic() > self._end:
            raise InvalidMedia(f"The {self._what} could not be decoded within {self._seconds:g} seconds.")


class Source:
    """What FFmpeg reads from. Every read looks at the clock, so that no demuxer can loop past the deadline."""

    def __init__(self, file: IO[bytes], deadline: Deadline) -> None:
        self._file = file
        self._deadline = deadline

    def read(self, size: int) -> bytes:
        """As of a file; so are the others."""
        self._deadline.check()
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves."""
        self._deadline.check()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where it is."""
        return self._file.tell()


@contextmanager
def _refusing(param: str) -> Iterator[None]:
    """FFmpeg's and the file system's errors as `InvalidMedia`; its own gain the field's name."""
    try:
        yield
    except InvalidMedia as error:
        raise InvalidMedia(error.message, param=param) from error.__cause__
    except (FFmpegError, OSError, ValueError, OverflowError, EOFError) as error:
        raise InvalidMedia(
            f"The sound is damaged or not in a format that can be read here. {_ADVICE}", param=param
        ) from error
