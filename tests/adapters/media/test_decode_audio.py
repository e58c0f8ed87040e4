"""Uploaded sounds: every format that is promised, and every trick that FFmpeg is known to fall for."""

import io
import os
import socket
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.servers import ROOT

import adapters.media.decode_audio as decoding
from adapters.base import Media
from adapters.errors import InvalidMedia
from adapters.media.container import Deadline, Source
from adapters.media.decode_audio import SAMPLE_RATE, decode_audio

NARRATION = ROOT / "examples" / "narration.ogg"


def decode(data: bytes, *, max_seconds: float = 60.0, deadline_s: float = 20.0, cut: bool = False) -> np.ndarray:
    return decode_audio(Media("audio/wav", data=data), max_seconds=max_seconds, deadline_s=deadline_s, cut=cut)


def tone(seconds: float, rate: int = 48_000, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def encoded(container: str, codec: str, sound: np.ndarray, rate: int = 48_000, *, picture: str = "") -> bytes:
    """The sound in a container, beside a few black frames in the codec `picture` if that is given."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        layout = "stereo" if codec == "vorbis" else "mono"  # FFmpeg's own Vorbis encoder knows nothing else.
        audio = file.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
        video = file.add_stream(picture, rate=10, width=64, height=64) if picture else None
        if video is not None:
            video.pix_fmt = "yuv420p"
            for _ in range(5):
                file.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
            file.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "flt", "mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(audio.format, layout, rate, audio.codec_context.frame_size or 4096)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(audio.encode(piece))
        file.mux(audio.encode(None))
    return out.getvalue()


def wav(samples: bytes, rate: int = SAMPLE_RATE, channels: int = 1, width: int = 2) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)
    return out.getvalue()


def loudest_hertz(sound: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound))) * SAMPLE_RATE / len(sound))


@pytest.mark.parametrize(
    ("container", "codec", "picture"),
    [
        ("wav", "pcm_s16le", ""),
        ("wav", "pcm_f32le", ""),
        ("flac", "flac", ""),
        ("mp3", "libmp3lame", ""),
        ("ogg", "vorbis", ""),
        ("ogg", "libopus", ""),
        ("adts", "aac", ""),
        ("ipod", "aac", ""),
        ("mov", "alac", ""),
        ("mp4", "aac", "mpeg4"),
        ("webm", "libopus", "libvpx"),
        ("matroska", "libopus", "mpeg4"),
    ],
)
def test_every_format_gives_16_khz_mono_float32(container: str, codec: str, picture: str) -> None:
    sound = decode(encoded(container, codec, tone(1.0), picture=picture))
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(SAMPLE_RATE, abs=1600)  # Lossy codecs pad at either end.
    assert loudest_hertz(sound) == pytest.approx(440, abs=3)
    assert 0.4 < np.abs(sound).max() <= 1.0


def test_a_file_decodes_as_its_bytes_do(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(NARRATION.read_bytes())
    by_path = decode_audio(Media("", path=str(tmp_path / "upload")), max_seconds=60, deadline_s=20)
    assert np.array_equal(by_path, decode(NARRATION.read_bytes()))


def test_channels_are_mixed_and_rates_changed() -> None:
    left, right = np.full(44_100, 8000, np.int16), np.full(44_100, -8000, np.int16)
    sound = decode(wav(np.stack([left, right], axis=1).tobytes(), rate=44_100, channels=2))
    assert len(sound) == pytest.approx(SAMPLE_RATE, abs=2)
    assert np.abs(sound).max() < 1e-3


def test_a_tag_before_an_mp3_is_skipped() -> None:
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 0]) + bytes(256)
    assert len(decode(tag + encoded("mp3", "libmp3lame", tone(0.5)))) > 7000


def test_loud_and_impossible_samples_are_brought_into_range() -> None:
    samples = np.tile(np.array([3.0, -3.0, np.nan, np.inf, -np.inf, 0.25], "<f4"), 500)
    header = encoded("wav", "pcm_f32le", tone(0.1, SAMPLE_RATE), SAMPLE_RATE)
    start = header.index(b"data") + 8
    sound = decode(header[:start] + samples[: (len(header) - start) // 4].tobytes())
    assert np.isfinite(sound).all()
    assert sound.min() == -1.0
    assert sound.max() == 1.0


def test_a_recording_that_breaks_off_gives_what_is_there() -> None:
    whole = encoded("flac", "flac", tone(2.0))
    assert 0 < len(decode(whole[: len(whole) // 2])) < 2 * SAMPLE_RATE


def test_the_first_seconds_can_be_cut_off() -> None:
    assert len(decode(NARRATION.read_bytes(), max_seconds=3, cut=True)) == 3 * SAMPLE_RATE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        bytes(1 << 20),
        b"RIFF\x24\0\0\0WAVE",
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\x02\0\x10\0data\xff\xff\xff\xff"
        + bytes(64),
        b"fLaC" + os.urandom(2000),
        b"OggS" + os.urandom(2000),
        b"\x1a\x45\xdf\xa3" + os.urandom(2000),
        b"\0\0\0\x18ftypisom" + os.urandom(2000),
        b"\xff\xfb" + bytes(2000),
        b"\xff\xf1" + bytes(2000),
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"%PDF-1.7 not a sound at all",
        b"MZ" + bytes(500),
    ],
)
def test_promise_19_what_is_no_sound_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMedia) as refused:
        decode(data)
    assert refused.value.param == "file"
    assert "Errno" not in refused.value.message


def test_a_video_without_sound_is_refused() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=10, width=64, height=64)
        stream.pix_fmt = "yuv420p"
        file.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        file.mux(stream.encode(None))
    with pytest.raises(InvalidMedia, match="no audio track"):
        decode(out.getvalue())


def test_a_missing_index_is_refused() -> None:
    whole = encoded("ipod", "aac", tone(1.0))
    with pytest.raises(InvalidMedia):
        decode(whole[: len(whole) // 2])  # MP4 keeps its index at the end.


@pytest.mark.parametrize("rate", [1, 100, 3_999, 2_000_000])
def test_promise_19_absurd_sample_rates_are_refused(rate: int) -> None:
    with pytest.raises(InvalidMedia):
        decode(wav(bytes(20_000), rate=rate))


@pytest.fixture
def canary() -> Iterator[tuple[int, list[str]]]:
    """A port on this machine, and the list of those who called there."""
    callers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        done = threading.Event()

        def listen() -> None:
            while not done.is_set():
                try:
                    connection, peer = server.accept()
                except TimeoutError:
                    continue
                callers.append(str(peer))
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], callers
        done.set()
        thread.join()


def playlists(file: Path, port: int) -> dict[str, bytes]:
    """Texts that FFmpeg obeys, naming a file on this machine or a port of it."""
    url = f"http://127.0.0.1:{port}/canary.wav"
    return {
        "ffconcat": f"ffconcat version 1.0\nfile {file}\n".encode(),
        "concat": f"file '{file}'\n".encode(),
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{file}\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n".encode(),
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n".encode(),
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT10S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
            '<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1" codecs="mp4a.40.2">'
            f"<BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>"
        ).encode(),
        "imf": f'<AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><Id>{url}</Id></AssetMap>'.encode(),
        "ffmetadata": b";FFMETADATA1\ntitle=x\n",
    }


@pytest.mark.parametrize("name", ["ffconcat", "concat", "m3u8", "sdp", "dash", "imf", "ffmetadata"])
@pytest.mark.parametrize("disguise", [b"", b"ID3\x04\0\0\0\0\0\0", b"\xef\xbb\xbf"])
def test_promise_19_playlists_are_refused_and_open_nothing(
    name: str, disguise: bytes, tmp_path: Path, canary: tuple[int, list[str]]
) -> None:
    port, callers = canary
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded("wav", "pcm_s16le", tone(1.0)))
    os.utime(secret, ns=(1, 2))
    upload = tmp_path / "innocent.wav"
    upload.write_bytes(disguise + playlists(secret, port)[name])
    before = time.monotonic()
    with pytest.raises(InvalidMedia):
        decode_audio(Media("audio/wav", path=str(upload)), max_seconds=60, deadline_s=20)
    assert time.monotonic() - before < 2
    assert secret.stat().st_atime_ns == 1, "the file that the playlist names was read"
    assert not callers


@pytest.mark.parametrize(
    ("name", "demuxer"), [("ffconcat", "concat"), ("m3u8", "hls"), ("sdp", "sdp"), ("dash", "dash")]
)
def test_promise_19_the_allow_list_holds_even_where_recognition_is_fooled(
    name: str, demuxer: str, tmp_path: Path, canary: tuple[int, list[str]]
) -> None:
    port, callers = canary
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded("wav", "pcm_s16le", tone(1.0)))
    if demuxer not in av.formats_available:
        pytest.skip(f"this FFmpeg has no {demuxer} demuxer")
    source = Source(io.BytesIO(playlists(secret, port)[name]), Deadline(5, "audio"))
    with pytest.raises((av.error.FFmpegError, ValueError)):
        decoding._open(source, demuxer)
    assert not callers


@pytest.mark.slow
def test_promise_19_a_flac_bomb_stops_at_the_limit() -> None:
    hour = encoded("flac", "flac", np.zeros(3600 * SAMPLE_RATE, np.float32), SAMPLE_RATE)
    assert len(hour) < 2_000_000
    before = time.monotonic()
    with pytest.raises(InvalidMedia, match="maximum of 30 seconds"):
        decode(hour, max_seconds=30)
    assert time.monotonic() - before < 1


@pytest.mark.slow
def test_promise_19_an_opus_bomb_stops_at_the_limit() -> None:
    quiet = encoded("ogg", "libopus", np.zeros(600 * 48_000, np.float32))
    with pytest.raises(InvalidMedia, match="maximum of 5 seconds"):
        decode(quiet, max_seconds=5)


def test_promise_19_decoding_has_a_deadline() -> None:
    with pytest.raises(InvalidMedia, match="within 0 seconds"):
        decode(NARRATION.read_bytes(), deadline_s=0)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 22_000), st.integers(0, 22_000))
@example(b"", 0, 22_000)
def test_promise_19_damaged_files_are_heard_or_refused(noise: bytes, at: int, length: int) -> None:
    whole = NARRATION.read_bytes()
    try:
        sound = decode(whole[:at] + noise + whole[at + len(noise) :][:length])
    except InvalidMedia:
        return
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 1.0


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        [b"fLaC", b"OggS\0", b"RIFF\0\0\0\0WAVE", b"\xff\xfb", b"\xff\xf1", b"\x1a\x45\xdf\xa3", b"\0\0\0\x20ftyp"]
    ),
    st.binary(max_size=300),
)
def test_promise_19_noise_behind_a_good_signature_is_refused(signature: bytes, noise: bytes) -> None:
    try:
        decode(signature + noise)
    except InvalidMedia:
        return
