"""A film encoded beside the work that makes it: as `encode_mp4` does it, and ended at any moment."""

import threading
import time

import numpy as np
import pytest

from adapters.media.encode_video import VideoEncoder
from adapters.media.join_video import encode_mp4


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (count, 48, 64, 3), np.uint8)


def threads() -> int:
    return sum(thread.name == "video encoder" for thread in threading.enumerate())


@pytest.mark.parametrize("pieces", [1, 3, 20])
def test_pieces_give_the_film_that_all_frames_at_once_give(pieces: int) -> None:
    frames = noise(20)
    encoder = VideoEncoder(24, 20)
    assert not encoder.started
    for piece in np.array_split(frames, pieces):
        encoder.add(piece)
    data, first = encoder.close()
    assert data == encode_mp4(frames, 24)
    assert np.array_equal(first, frames[0])
    encoder.abort()
    assert threads() == 0


def test_a_film_that_nobody_waits_for_ends_at_once() -> None:
    encoder = VideoEncoder(24, 2000)
    for _ in range(3):
        encoder.add(np.zeros((200, 480, 640, 3), np.uint8))
    started = time.monotonic()
    encoder.abort()
    assert time.monotonic() - started < 10
    assert threads() == 0


def test_a_film_that_cannot_begin_is_told() -> None:
    encoder = VideoEncoder(-1, 4)
    with pytest.raises((ValueError, OSError, ZeroDivisionError)):  # whatever FFmpeg makes of it
        encoder.close()
    assert threads() == 0


def test_a_wrong_frame_or_number_of_them_is_told() -> None:
    encoder = VideoEncoder(24, 4)
    encoder.add(noise(2))
    encoder.add(np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="32x32"):
        encoder.close()
    short = VideoEncoder(24, 4)
    short.add(noise(3))
    with pytest.raises(ValueError, match="3 frames instead of 4"):
        short.close()
    empty = VideoEncoder(24, 1)
    with pytest.raises(ValueError, match="at least one frame"):
        empty.close()
    assert threads() == 0
