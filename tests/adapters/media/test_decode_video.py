"""Uploaded videos: what is taken of honest ones, and what hostile ones come to."""

import io
import json
import os
import resource
import subprocess
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.videos import clip, frames_of, narration

from adapters.errors import InvalidMedia
from adapters.media import decode_video
from adapters.media.container import Deadline, Source
from adapters.media.decode_video import ConvertedVideo, convert_video
from adapters.media.join_video import encode_mp4
from adapters.media.soundtrack import convert_audio

MP4 = clip(12)


def taken(tmp_path: Path, data: bytes, **limits: float) -> ConvertedVideo:
    (tmp_path / "in").write_bytes(data)
    given = {"max_frames": 500, "deadline_s": 30.0, **limits}
    return convert_video(str(tmp_path / "in"), str(tmp_path / "out.mp4"), **given)  # pyright: ignore


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "container", "rate", "fps"),
    [
        ("libx264", "mp4", 24, 24),
        ("libx264", "mov", Fraction(30_000, 1001), 30),
        ("libx265", "mp4", 25, 25),
        ("libvpx", "webm", 24, 24),
        ("libvpx-vp9", "matroska", 60, 60),
        ("libsvtav1", "mp4", 24, 24),
    ],
)
def test_all_kinds_become_h264_of_the_same_length(
    tmp_path: Path, codec: str, container: str, rate: Fraction, fps: int
) -> None:
    made = taken(tmp_path, clip(24, rate, (128, 96), codec=codec, container=container))
    assert made == ConvertedVideo(128, 96, 24, fps, has_audio=False)
    assert frames_of(tmp_path / "out.mp4") == (128, 96, 24)
    with av.open(str(tmp_path / "out.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        shown = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    greens = [int(frame[50, 100, 1]) for frame in shown]
    assert greens[-1] > greens[0] + 60
    assert all(late >= early - 6 for early, late in pairwise(greens))  # in their order
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # a decoder for everybody's uploads takes no more than its share


def test_frames_at_their_own_times_are_shown_for_as_long(tmp_path: Path) -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for at, value in ((0, 20), (2, 90), (20, 160), (22, 230)):  # in 24ths
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), value, np.uint8), format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 24)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    made = taken(tmp_path, out.getvalue())
    with av.open(str(tmp_path / "out.mp4")) as file:
        values = [int(frame.to_ndarray(format="gray")[20, 20]) for frame in file.decode(video=0)]
    seconds = made.num_frames / made.fps
    assert seconds == pytest.approx(23 / 24, abs=0.15)
    longest = sum(abs(value - 90) < 12 for value in values)
    assert longest / len(values) > 0.6


@pytest.mark.parametrize(("rotation", "size"), [(0, (64, 48)), (90, (48, 64)), (180, (64, 48)), (-90, (48, 64))])
def test_what_was_filmed_on_its_side_stands_upright(tmp_path: Path, rotation: int, size: tuple[int, int]) -> None:
    made = taken(tmp_path, clip(6, rotation=rotation))
    assert (made.width, made.height) == size


def test_odd_sides_are_made_even(tmp_path: Path) -> None:
    made = taken(tmp_path, clip(4, size=(66, 50), codec="libvpx", container="webm"))
    assert (made.width, made.height) == (66, 50)


@pytest.mark.slow
def test_a_film_larger_than_any_model_makes_becomes_smaller(tmp_path: Path) -> None:
    made = taken(tmp_path, clip(2, size=(3840, 2160)))
    assert 2048 * 2048 * 0.99 < made.width * made.height <= 2048 * 2048
    assert made.width / made.height == pytest.approx(16 / 9, rel=0.01)
    assert frames_of(tmp_path / "out.mp4") == (made.width, made.height, 2)


PLAYLISTS = {
    "ffconcat": b"ffconcat version 1.0\nfile 'SECRET'\n",
    "m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nSECRET\n#EXT-X-ENDLIST\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "dash": b'<?xml version="1.0"?><MPD><Period><AdaptationSet><BaseURL>SECRET</BaseURL></AdaptationSet></Period></MPD>',
    "image": b"\x89PNG\r\n\x1a\n",
    "avi": b"RIFF\0\0\0\0AVI LIST",
    "ts": b"G@\0\x10" * 200,
    "empty": b"",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_promise_19_playlists_and_other_containers_are_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.mp4").write_bytes(MP4)
    data = PLAYLISTS[name].replace(b"SECRET", str(tmp_path / "secret.mp4").encode())
    started = time.monotonic()
    with pytest.raises(InvalidMedia) as refused:
        taken(tmp_path, data)
    assert refused.value.param == "video"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("demuxer", ["concat", "hls", "sdp", "dash", "image2", "mpegts"])
def test_promise_19_the_allow_list_holds_even_where_recognition_is_fooled(tmp_path: Path, demuxer: str) -> None:
    if demuxer not in av.formats_available:
        pytest.skip(f"this FFmpeg has no {demuxer} demuxer")
    data = PLAYLISTS["ffconcat"].replace(b"SECRET", str(tmp_path / "in").encode())
    with pytest.raises((av.error.FFmpegError, ValueError)):
        decode_video._open(Source(io.BytesIO(data), Deadline(5, "video")), demuxer)


def test_promise_18_a_long_still_stops_at_the_limit(tmp_path: Path) -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for at in (0, 1, 30 * 600):  # ten minutes of one picture
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    started = time.monotonic()
    with pytest.raises(InvalidMedia, match="longer than") as refused:
        taken(tmp_path, out.getvalue())
    assert time.monotonic() - started < 5
    assert refused.value.param == "video"


def test_promise_18_frames_pixels_and_time_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(tmp_path, MP4, max_frames=12).num_frames == 12
    with pytest.raises(InvalidMedia, match="maximum of 11"):
        taken(tmp_path, MP4, max_frames=11)
    with pytest.raises(InvalidMedia, match="within"):
        taken(tmp_path, MP4, deadline_s=0)
    with pytest.raises(InvalidMedia):
        taken(tmp_path, clip(2, 500))
    with pytest.raises(InvalidMedia, match="pixels"):
        taken(tmp_path, clip(2, size=(16, 14), codec="libvpx", container="webm"))
    monkeypatch.setattr(decode_video, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(InvalidMedia):
        taken(tmp_path, MP4)


def test_promise_18_a_lying_size_is_not_believed(tmp_path: Path) -> None:
    at = MP4.index(b"avc1") + 4 + 24
    huge = MP4[:at] + b"\xff\xff\xff\xff" + MP4[at + 4 :]
    try:
        made = taken(tmp_path, huge)
    except InvalidMedia:
        return
    assert (made.width, made.height) == (64, 48)


def test_promise_19_no_other_decoder_is_run(tmp_path: Path) -> None:
    for codec in ("mpeg4", "mjpeg", "ffv1", "rawvideo"):
        out = io.BytesIO()
        with av.open(out, "w", format="matroska") as file:
            stream = file.add_stream(codec, rate=24)
            stream.width, stream.height = 64, 48
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            file.mux(stream.encode(None))
        with pytest.raises(InvalidMedia):
            taken(tmp_path, out.getvalue())
    with pytest.raises(InvalidMedia, match="no video track"):
        taken(tmp_path, narration(0.5, "mp4", "aac"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.tuples(st.integers(0, len(MP4) - 1), st.binary(max_size=8)), max_size=6),
    end=st.integers(0, len(MP4)),
)
def test_promise_18_damaged_files_are_refused_or_read_and_nothing_else(
    tmp_path: Path, cuts: list[tuple[int, bytes]], end: int
) -> None:
    data = bytearray(MP4)
    for at, piece in cuts:
        data[at : at + len(piece)] = piece
    try:
        made = taken(tmp_path, bytes(data[:end]), deadline_s=10.0)
    except InvalidMedia:
        return
    assert frames_of(tmp_path / "out.mp4") == (made.width, made.height, made.num_frames)


@pytest.mark.slow
def test_a_track_is_cut_where_it_is_told_to_and_holds_no_nonsense(tmp_path: Path) -> None:
    samples = np.full((1, 48_000), np.nan, np.float32)
    out = io.BytesIO()
    with av.open(out, "w", format="wav") as file:
        stream = file.add_stream("pcm_f32le", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
        frame.sample_rate = 48_000
        file.mux(stream.encode(frame))
    (tmp_path / "in").write_bytes(out.getvalue())
    assert convert_audio(str(tmp_path / "in"), str(tmp_path / "out"), max_seconds=0.25, deadline_s=10) == 0.25
    with av.open(str(tmp_path / "out")) as file:
        heard = np.concatenate([one.to_ndarray() for one in file.decode(audio=0)], 1)
    assert np.abs(heard).max() < 0.01
    (tmp_path / "bomb").write_bytes(narration(900, "flac", "flac"))
    started = time.monotonic()
    convert_audio(str(tmp_path / "bomb"), str(tmp_path / "out"), max_seconds=1.0, deadline_s=30)
    assert time.monotonic() - started < 10  # what lies behind is not even decoded


def run(tmp_path: Path, data: bytes, most_bytes: int | None = None, **more: object) -> tuple[dict, list[str]]:
    """What the process says, and the files that it leaves."""
    (tmp_path / "in").write_bytes(data)
    told = {"command": "convert_video", "source": str(tmp_path / "in"), "target": str(tmp_path / "out.mp4")}
    told |= {"max_frames": 100, "deadline_s": 20, "param": "video", **more}

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    command = [sys.executable, "-m", "adapters.media.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=limit) as process:
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
        said = process.stdout.read()
    left = sorted(path.name for path in tmp_path.iterdir() if path.name != "in")
    return json.loads(said), left


@pytest.mark.slow
def test_promises_4_and_20_the_process_leaves_a_whole_file_or_none(tmp_path: Path) -> None:
    reply, left = run(tmp_path, b"\0" * 100)
    assert "format" in reply["invalid"]
    assert left == []
    assert run(tmp_path, MP4[: len(MP4) // 2])[1] == []
    noise = np.random.default_rng(1).integers(0, 255, (40, 240, 320, 3), np.uint8)
    assert run(tmp_path, encode_mp4(noise, 24), most_bytes=10_000) == ({"full": True}, [])
    reply, left = run(tmp_path, narration(1.0), command="convert_video")
    assert reply.keys() == {"invalid"}
    reply, left = run(tmp_path, narration(5.0), most_bytes=10_000, command="convert_audio", max_seconds=9)
    assert (reply, left) == ({"full": True}, [])
    reply, left = run(tmp_path, MP4)
    assert reply["converted"]["num_frames"] == 12
    assert left == ["out.mp4"]


STARTER = """
import os, subprocess, sys, time
command = ["-m", "adapters.process.helper", str(os.getpid()), "adapters.media.worker"]
worker = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE)
worker.stdin.write(sys.argv[1].encode() + b"\\n")
worker.stdin.close()
print(worker.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_promise_20_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(clip(150, size=(1280, 720)))
    order = {"command": "convert_video", "source": str(tmp_path / "in"), "target": str(tmp_path / "out.mp4")}
    order |= {"max_frames": 500, "deadline_s": 60, "param": "video"}
    command = [sys.executable, "-c", STARTER, json.dumps(order)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        worker.wait(5)
    assert not (tmp_path / "out.mp4").exists()
