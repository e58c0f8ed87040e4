"""Containers and images that tools write: what FFmpeg and Pillow can read safely is recognised."""

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from adapters.base import Media
from adapters.errors import InvalidMedia
from adapters.media.decode_audio import decode_audio
from adapters.media.decode_image import open_image
from adapters.media.mpeg_frames import first_frame

TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * 32767).astype(np.int16)


def encoded(container: str, codec: str, *tracks: np.ndarray, rate: int = 16_000, default: int = 0) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        streams = [file.add_stream(codec, rate=rate, layout="mono") for _ in tracks]
        for number, stream in enumerate(streams):
            if len(tracks) > 1:
                stream.disposition = Disposition.default if number == default else Disposition(0)
        for stream, samples in zip(streams, tracks, strict=True):
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate = 16_000
            resampler = av.AudioResampler(
                stream.codec_context.format, "mono", rate, stream.codec_context.frame_size or None
            )
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                file.mux(stream.encode(piece))
            file.mux(stream.encode(None))
    return out.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return decode_audio(Media("application/octet-stream", data), max_seconds=10, deadline_s=20)


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("w64", "pcm_s16le", 16_000),
        ("aiff", "pcm_s16be", 16_000),
        ("au", "pcm_s16be", 16_000),
        ("au", "pcm_mulaw", 8_000),
        ("caf", "pcm_s16le", 16_000),
        ("wav", "pcm_s24le", 44_100),
        ("wav", "adpcm_ima_wav", 16_000),
        ("3gp", "aac", 16_000),
        ("ipod", "aac", 44_100),
        ("mp4", "alac", 16_000),
        ("matroska", "flac", 16_000),
        ("webm", "libopus", 48_000),
        ("ogg", "libopus", 48_000),
        ("ogg", "flac", 16_000),
        ("mp2", "mp2", 16_000),
        ("adts", "aac", 16_000),
        ("mp3", "libmp3lame", 16_000),
    ],
)
def test_audio_in_other_containers_is_read(container: str, codec: str, rate: int) -> None:
    try:
        data = encoded(container, codec, TONE, rate=rate)
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg cannot write it: {error}")
    audio = decoded(data)
    assert 0.9 < len(audio) / 16_000 < 1.3
    assert np.abs(audio).max() > 0.1


def test_rf64_is_read() -> None:
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 72 + TONE.nbytes, TONE.nbytes, len(TONE), 0)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    data = struct.pack("<4sI", b"data", 0xFFFFFFFF) + TONE.tobytes()
    assert len(decoded(b"RF64\xff\xff\xff\xffWAVE" + sizes + form + data)) == 16_000


TAG = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)


@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("adts", "aac"), ("mp2", "mp2")])
@pytest.mark.parametrize(
    "before",
    [b"", bytes(512), TAG, TAG + bytes(512), TAG + TAG, b"junk from a radio stream \xff\xff\xfa " * 20, bytes(60_000)],
    ids=["nothing", "zeros", "tag", "tag and zeros", "two tags", "junk", "many zeros"],
)
def test_junk_before_the_first_frame_is_skipped(container: str, codec: str, before: bytes) -> None:
    assert len(decoded(before + encoded(container, codec, TONE))) > 13_000


@pytest.mark.parametrize("container", ["matroska", "mp4"])
@pytest.mark.parametrize("default", [0, 1])
def test_the_default_track_is_the_one_that_is_heard(container: str, default: int) -> None:
    codec = "libopus" if container == "matroska" else "aac"
    tracks = [TONE, np.zeros_like(TONE)] if default == 0 else [np.zeros_like(TONE), TONE]
    assert np.abs(decoded(encoded(container, codec, *tracks, rate=48_000, default=default))).max() > 0.1


@pytest.mark.parametrize(
    "data",
    [
        b"ffconcat version 1.0\nfile /etc/hosts\n",
        b"#EXTM3U\n#EXTINF:1,\n/etc/hosts\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        TAG + b"ffconcat version 1.0\nfile /etc/hosts\n",
        bytes(512) + b"#EXTM3U\n/etc/hosts\n",
        bytes(100_000),
        b"\xff" * 100_000,
        b"\xff\xfb" * 50_000,
        b"FORM\0\0\0\0ILBM" + bytes(100),
        b"MThd" + bytes(100),
    ],
)
def test_playlists_and_other_files_are_still_refused(data: bytes) -> None:
    with pytest.raises(InvalidMedia):
        decoded(data)


def test_frames_need_one_that_follows() -> None:
    assert first_frame(b"") is None
    assert first_frame(b"text with \xff\xfb\x90\x00 a sync word") is None


def still(form: str, frames: int = 1, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    images = [Image.new(mode, (20, 10), 40 * number) for number in range(frames)]
    images[0].save(out, form, save_all=frames > 1, append_images=images[1:], **options) if frames > 1 else images[
        0
    ].save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "mode"), [("GIF", "P"), ("GIF", "L"), ("BMP", "RGB"), ("BMP", "L"), ("BMP", "1"), ("PNG", "RGBA")]
)
def test_a_still_image_is_read(form: str, mode: str) -> None:
    assert open_image(Media("image/x", still(form, mode=mode))).size == (20, 10)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_refused(form: str) -> None:
    with pytest.raises(InvalidMedia, match="animated"):
        open_image(Media("image/x", still(form, 3, duration=50)))


def test_a_comment_and_a_loop_extension_do_not_make_a_gif_animated() -> None:
    gif = still("GIF", comment=b"made by a tool " * 40)
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    at = 13 + (3 * 2 ** ((gif[10] & 7) + 1) if gif[10] & 0x80 else 0)
    assert open_image(Media("image/gif", gif[:at] + loop + gif[at:])).size == (20, 10)


@pytest.mark.parametrize(
    "data",
    [
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0;",
        b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0),
        b"GIF89a\0",
        b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + b"!\xfe" + b"\x01a" * 200_000,
        b"BM" + bytes(12) + struct.pack("<Iii", 40, 60_000, 60_000) + bytes(40),
        b"BM" + bytes(12) + struct.pack("<Iii", 12, 1, 1) + bytes(40),
        b"BM",
    ],
)
def test_hostile_images_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidMedia):
        open_image(Media("image/x", data))


def test_the_files_of_the_field_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(TAG + bytes(512) + encoded("mp3", "libmp3lame", TONE))
    assert len(decode_audio(Media("x", path=str(path)), max_seconds=10, deadline_s=20)) > 13_000
