"""Sounds that models make beside their pictures, in films of one shot and of several. On the fake, which hums."""

import io
import json
import time
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from support.servers import Running, serving
from support.videos import folders, narration, tracks_of

SHOT = {"model": "fake-video", "size": "64x48", "fps": 12}


@pytest.fixture(scope="module")
def server(video_server: Running) -> Running:
    return video_server


def ask(running: Running, path: str = "", files: dict[str, Any] | None = None, **fields: Any) -> str:
    parts = {name: (None, str(value)) for name, value in {**SHOT, **fields}.items() if value is not ...} | (files or {})
    reply = httpx.post(f"{running.url}/v1/videos{path}", files=parts, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()["id"]


def film(running: Running, video_id: str) -> bytes:
    deadline = time.monotonic() + 90
    url = f"{running.url}/v1/videos/{video_id}"
    while (video := httpx.get(url).json())["status"] != "completed":
        assert video["status"] != "failed", video
        assert time.monotonic() < deadline, video
        time.sleep(0.05)
    return httpx.get(url + "/content").content


def loud(data: bytes) -> list[bool]:
    """Whether something is heard, for each half second of a film."""
    with av.open(io.BytesIO(data), format="mp4") as container:
        track = container.streams.audio[0]
        samples = np.concatenate([frame.to_ndarray().mean(0) for frame in container.decode(track)])
        step = track.rate // 2
    whole = [samples[at : at + step] for at in range(0, len(samples) - step // 2, step)]
    return [bool(np.abs(part[len(part) // 4 : -len(part) // 4]).mean() > 0.01) for part in whole]


@pytest.mark.slow
@pytest.mark.parametrize(("made_ms", "heard_s"), [(600, 2.0), (9000, 2.0), (0, None)])
def test_what_a_model_sounds_like_is_as_long_as_its_pictures(
    server: Running, made_ms: int, heard_s: float | None
) -> None:
    said = f"[sound_ms={made_ms}]" if made_ms else "mute"
    data = film(server, ask(server, prompt=said, num_frames=24))
    pictures, heard = tracks_of(data)
    assert pictures == pytest.approx(2.0, abs=0.01)
    assert heard == (None if heard_s is None else pytest.approx(heard_s, abs=0.05))
    if heard is not None:
        assert heard <= pictures
        assert loud(data) == ([True, False, False, False] if made_ms < 1000 else [True] * 4)


def test_the_requests_own_sound_takes_its_place(server: Running) -> None:
    data = film(server, ask(server, files={"audio": ("a.wav", narration(0.5, "wav", "pcm_s16le"))},
                            prompt="[sound_ms=9000]", num_frames=24))  # fmt: skip
    assert tracks_of(data)[1] == pytest.approx(0.5, abs=0.05)


def test_a_sequence_sounds_as_its_scenes_do(server: Running) -> None:
    scenes = [
        {"scene_number": 1, "description": "one [sound_ms=9000]", "duration_frames": 12},
        {"scene_number": 2, "description": "mute", "duration_frames": 18},
        {"scene_number": 3, "description": "three [sound_ms=500]", "duration_frames": 12},
    ]
    fields = {"scenes": json.dumps(scenes), "transition_frames": 0}
    data = film(server, ask(server, "/sequences", **fields))
    pictures, heard = tracks_of(data)
    assert pictures == pytest.approx(3.5, abs=0.01)
    assert heard == pytest.approx(3.5, abs=0.05)
    assert loud(data) == [True, True, False, False, False, True, False]


@pytest.mark.slow
def test_what_is_made_of_a_sounding_film(server: Running) -> None:
    first = ask(server, prompt="[sound_ms=9000]", num_frames=12)
    film(server, first)
    home = Path(server.log).parent
    assert folders(home)[first] == ["video.json", "video.m4a", "video.mp4", "video.png"]
    unknown = {"fps": ..., "size": ...}
    # An extension begins with its sound, and goes on with that of the new shot, whose first frame is not shown.
    longer = ask(server, "/extensions", prompt="[sound_ms=583]", video_id=first, num_frames=24, **unknown)
    assert loud(film(server, longer)) == [True, True, True, False, False, False]
    once_more = ask(server, "/extensions", prompt="mute", video_id=longer, num_frames=6, **unknown)
    assert loud(film(server, once_more)) == [True, True, True, False, False, False, False]
    # An edit keeps it, whatever its model sounds like; a remix has its own.
    edited = film(server, ask(server, "/edits", prompt="[sound_ms=100]", video_id=first, **unknown))
    assert loud(edited) == [True, True]
    remixed = ask(server, f"/{first}/remix", prompt="mute", **unknown, model=...)
    assert tracks_of(film(server, remixed))[1] is None


@pytest.mark.long
@pytest.mark.parametrize("point", ["clip-0-sound", "video.m4a", "video.mp4.part"])
def test_promise_2_a_sounding_film_killed_anywhere_ends_whole(tmp_path: Path, point: str) -> None:
    with serving(tmp_path) as running:
        video_id = ask(running, prompt="[sound_ms=9000][delay_ms=5]", num_frames=24)
        folder = tmp_path / "data/videos" / video_id
        deadline = time.monotonic() + 60
        while not (folder / point).exists() and not (folder / "video.mp4").exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        running.process.kill()
        running.process.wait(20)
    with serving(tmp_path) as running:
        assert loud(film(running, video_id)) == [True] * 4
        assert folders(tmp_path)[video_id] == ["video.json", "video.m4a", "video.mp4", "video.png"]
