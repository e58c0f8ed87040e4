"""Frames in, an MP4 out: read back with FFmpeg."""

import io

import av
import numpy as np
import pytest

from adapters.media.join_video import encode_mp4


def stripes(count: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Red and green halves, and a white bar that moves right by four pixels a frame."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:, : height // 2] = (200, 30, 30)
    frames[:, height // 2 :] = (30, 160, 60)
    for number in range(count):
        frames[number, :, number * 4 % width : number * 4 % width + 4] = 255
    return frames


def atoms(data: bytes) -> list[str]:
    names, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        names.append(data[at + 4 : at + 8].decode())
        at += size
    return names


@pytest.mark.parametrize("count", [1, 2, 9, 25, 121])
def test_as_many_frames_come_out_as_went_in(count: int):
    with av.open(io.BytesIO(encode_mp4(stripes(count), 24))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames, stream.average_rate) == (96, 64, count, 24)
        assert len(list(container.decode(stream))) == count
        assert container.duration == pytest.approx(count / 24 * 1e6, rel=0.01)


def test_pixels_and_their_order_survive():
    frames = stripes(20)
    with av.open(io.BytesIO(encode_mp4(frames, 10))) as container:
        read = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.abs(read.astype(int) - frames).mean() < 4
    for number in range(20):  # The white bar is where it was, so no frame moved.
        assert read[number, 10].min(axis=-1).argmax() // 4 == number


@pytest.mark.slow
def test_it_plays_while_it_downloads_and_is_the_same_every_time():
    data = encode_mp4(stripes(30), 24)
    assert atoms(data).index("moov") < atoms(data).index("mdat")
    assert all(encode_mp4(stripes(30), 24) == data for _ in range(50))


def test_a_long_noisy_video_has_room_for_its_index():
    noise = np.random.default_rng(0).integers(0, 256, (600, 32, 32, 3), dtype=np.uint8)
    assert atoms(encode_mp4(noise, 60)).index("moov") < 2


@pytest.mark.parametrize(
    ("frames", "fps"),
    [
        (stripes(2)[:, :-1], 24),
        (stripes(2)[:, :, :-1], 24),
        (stripes(2).astype(np.float32), 24),
        (stripes(2)[..., :2], 24),
        (stripes(2)[0], 24),
        (stripes(0), 24),
        (stripes(2), 0),
    ],
)
def test_other_shapes_are_refused(frames: np.ndarray, fps: int):
    with pytest.raises(ValueError, match="must be"):
        encode_mp4(frames, fps)
