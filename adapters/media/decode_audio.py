"""Untrusted bytes to samples: the only decoder of uploaded audio.

Samples are counted while they are decoded, so that a small file cannot fill the memory; `container` says what else
protects the process. Nothing here depends on a model.
"""

import io
import math
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.stream import Disposition

from adapters.base import Media
from adapters.errors import InvalidMedia
from adapters.media.container import Deadline, Source, decode_errors, decode_stream, open_container
from adapters.media.mpeg_frames import first_frame

if TYPE_CHECKING:
    from av.container import InputContainer
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Hz, of everything that `decode_audio` returns."""

DEMUXERS = ("aac", "aiff", "amr", "au", "caf", "flac", "matroska", "mov", "mp3", "ogg", "w64", "wav")
"""FFmpeg's names of the supported containers; the audio track of a video file is read, too."""

DECODERS = (
    "aac,aac_fixed,aac_latm,ac3,alac,amrnb,amrwb,eac3,flac,libopus,libvorbis,mp1,mp1float,mp2,mp2float,mp3,mp3float,"
    "opus,vorbis,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,pcm_alaw,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,"
    "pcm_s32le,pcm_s8,pcm_u8"
)
"""FFmpeg's names of the supported codecs: audio only, so that no video decoder runs on an upload here."""

SAMPLE_RATES = range(4_000, 768_001)
"""Supported input rates in Hz. Resampling lower ones would amplify the size: one sample at 1 Hz becomes 16,000."""

MAX_JUNK_BYTES = 64 * 1024
"""Padding or other bytes before the first frame of MPEG audio."""
_MAGIC = (
    *((0, magic, b"WAVE", "wav") for magic in (b"RIFF", b"RF64", b"BW64", b"RIFX")),
    (0, b"riff\x2e\x91\xcf\x11", b"", "w64"),
    (0, b"fLaC", b"", "flac"),
    (0, b"OggS", b"", "ogg"),
    (0, b"\x1a\x45\xdf\xa3", b"", "matroska"),
    *((4, box, b"", "mov") for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp")),
    (0, b"FORM", b"AIFF", "aiff"),
    (0, b"FORM", b"AIFC", "aiff"),
    (0, b".snd", b"", "au"),
    (0, b"caff", b"", "caf"),
    (0, b"#!AMR", b"", "amr"),
)
"""(offset, bytes there, bytes at 8, FFmpeg's name of the container)."""

_ADVICE = "Send flac, m4a, mp3, mp4, ogg, wav or webm."


def decode_audio(
    media: Media, *, max_seconds: float, deadline_s: float, cut: bool = False, param: str = "file"
) -> "NDArray[np.float32]":
    """Decodes audio in the format that Whisper expects.

    Args:
        media: An audio file, or a video with an audio track. Its claimed media type is not trusted.
        max_seconds: The maximum length. Checked while decoding: no more than this is ever in memory.
        deadline_s: Seconds of wall clock after which decoding stops with an error.
        cut: Return the first `max_seconds` of longer audio instead of an error.
        param: The request's field that `InvalidMedia` names.

    Returns:
        float32 [samples], mono, 16 kHz, -1..1, at least one sample; NaN in the file becomes 0.0.

    Raises:
        InvalidMedia: No audio, an unsupported format, damaged, too long, or too slow to decode.
    """
    limit = math.floor(max_seconds * SAMPLE_RATE)
    samples = bytearray()
    for chunk in decode_audio_chunks(media, deadline_s=deadline_s, param=param):
        samples += chunk
        if len(samples) // 4 > limit:
            if cut:
                break
            raise InvalidMedia(f"The audio is longer than the maximum of {max_seconds:g} seconds.", param=param)
    return clean_samples(np.frombuffer(samples, np.float32)[:limit])


def decode_audio_chunks(
    media: Media, *, deadline_s: float, layout: str = "mono", rate: int = SAMPLE_RATE, param: str = "file"
) -> Generator[bytes]:
    """Decodes audio of any length in chunks; the caller limits the length.

    Args:
        media: As of `decode_audio`.
        deadline_s: As of `decode_audio`.
        layout: "mono" or "stereo".
        rate: Hz.
        param: As of `decode_audio`.

    Yields:
        Native float32 samples, channels interleaved. They may be NaN or outside of -1..1: see `clean_samples`.

    Raises:
        InvalidMedia: As of `decode_audio`.
    """
    deadline = Deadline(deadline_s, "audio")
    with decode_errors(param, "audio", _ADVICE), ExitStack() as stack:
        file = io.BytesIO(media.data) if not media.path else stack.enter_context(open(media.path, "rb"))
        demuxer, start = _detect_container(file)
        container = stack.enter_context(_open(Source(file, deadline, start), demuxer))
        empty = True
        for chunk in _decode(container, deadline, layout, rate):
            empty = empty and not chunk
            yield chunk
        if empty:
            raise InvalidMedia("The audio track is empty or damaged: nothing could be decoded.")


def clean_samples(samples: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """The samples with NaN replaced by 0.0, and clipped to -1..1; changed in place."""
    np.nan_to_num(samples, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(samples, -1.0, 1.0, out=samples)


def _detect_container(file: IO[bytes]) -> tuple[str, int]:
    """FFmpeg's name of the container, from its first bytes; and where MPEG audio starts behind tags and padding."""
    head = file.read(16)
    if not head:
        raise InvalidMedia(f"The file is empty. {_ADVICE}")
    # Tags before the audio, rarely more than one; their sizes are 7-bit digits (ID3v2.4, sections 3.1 and 6.2).
    for _ in range(4):
        if head[:3] != b"ID3" or len(head) < 10:
            break
        file.seek(sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)) - 6, 1)
        head = file.read(16)
    tags_bytes = file.tell() - len(head)
    after_tags = head + file.read(MAX_JUNK_BYTES)
    for start, magic, second, demuxer in _MAGIC:
        if head[start : start + len(magic)] == magic and head[8 : 8 + len(second)] == second:
            return demuxer, 0
    if (found := first_frame(after_tags)) is not None:
        demuxer, start = found
        return demuxer, tags_bytes + start
    raise InvalidMedia(f"The file is not audio in a supported format. {_ADVICE}")


def _open(source: Source, demuxer: str) -> "InputContainer":
    formats = (*DEMUXERS, "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
    return open_container(source, demuxer, formats=formats, codecs=DECODERS)


def _decode(container: "InputContainer", deadline: Deadline, layout: str, rate: int) -> Iterator[bytes]:
    """Native float32 samples of the default audio track, or else the first."""
    if not container.streams.audio:
        raise InvalidMedia("The file has no audio track. Send one that has.")
    tracks = container.streams.audio
    stream = next((track for track in tracks if track.disposition & Disposition.default), tracks[0])
    if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS.split(","):
        raise InvalidMedia(f"The codec of the audio track is not supported. {_ADVICE}")
    resampler: AudioResampler | None = None
    shape: tuple[str, str, int] | None = None
    for frame in decode_stream(container, stream, deadline, "audio"):
        if not isinstance(frame, AudioFrame) or frame.samples == 0:
            continue
        # Streams may change their format midway.
        if (current := (frame.format.name, frame.layout.name, frame.sample_rate)) != shape:
            yield from _flush(resampler)
            resampler, shape = _resampler(frame, layout, rate), current
        frame.pts = None  # Ignore gaps and jumps in the file's timestamps.
        if resampler is not None:
            yield from map(_bytes, resampler.resample(frame))
    yield from _flush(resampler)


def _resampler(frame: AudioFrame, layout: str, rate: int) -> AudioResampler:
    if frame.sample_rate not in SAMPLE_RATES:
        raise InvalidMedia(
            f"A sample rate of {frame.sample_rate} Hz is not supported; send {SAMPLE_RATES[0]:,} to "
            f"{SAMPLE_RATES[-1]:,} Hz."
        )
    return AudioResampler("flt", layout, rate)


def _flush(resampler: AudioResampler | None) -> Iterator[bytes]:
    return map(_bytes, resampler.resample(None)) if resampler is not None else iter(())


def _bytes(frame: AudioFrame) -> bytes:
    return bytes(frame.planes[0])[: frame.samples * 4 * frame.layout.nb_channels]  # Planes are padded.
