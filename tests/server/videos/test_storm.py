"""Twenty videos of every kind, deleted at random, on a server that is killed and stopped at random. On the fake."""

import base64
import json
import random
import time
from pathlib import Path

import httpx
import pytest
from support.inbox import Inbox
from support.servers import Running, serving
from support.videos import clip, folders, frames_of, narration

from adapters.fake.images import png

PICTURE = "data:image/png;base64," + base64.b64encode(png(64, 48, (1, 2, 3))).decode()
FRAMES = {"shot": 25, "narrated": 25, "sequence": 12 + 17 + 6, "transition": 9, "extension": 10 + 8, "edit": 10}
"""How many each kind of film has, in the end."""


def ask(running: Running, kind: str, prompt: str) -> str:
    """The id of a new video."""
    data = {"model": "fake-video", "prompt": prompt, "num_inference_steps": 6}
    files = {}
    size = {"size": "64x48"}
    if kind == "sequence":
        scenes = [
            {"scene_number": number, "description": prompt, "duration_frames": frames, "keyframe": PICTURE}
            for number, frames in ((1, 12), (2, 17))
        ]
        path, data = "/sequences", {"model": "fake-video", "scenes": json.dumps(scenes), "transition_frames": 6, **size}
        files = {"audio": ("a.ogg", narration(0.5, "ogg", "libopus"))}
    elif kind == "transition":
        path, data = "/transitions", {**data, **size, "num_frames": 9, "start_image": PICTURE, "end_image": PICTURE}
    elif kind in ("extension", "edit"):
        path, files = f"/{kind}s", {"video": ("a.mp4", clip(10, sound_s=0.4))}
        data |= {"num_frames": 8} if kind == "extension" else {}
    else:
        path, data = "", {**data, **size, "num_frames": 25}
        files = {"audio": ("a.mp3", narration(3.0))} if kind == "narrated" else {}
    parts = {name: (None, str(value)) for name, value in data.items()} | files
    reply = httpx.post(f"{running.url}/v1/videos{path}", files=parts, timeout=120)
    assert reply.status_code == 200, reply.text
    return reply.json()["id"]


def state(running: Running, video_id: str) -> dict:
    return httpx.get(f"{running.url}/v1/videos/{video_id}", timeout=60).json()


@pytest.mark.long
@pytest.mark.parametrize("seed", [7, 8])
def test_promises_2_5_and_33_twenty_videos_deletes_and_restarts_end_in_true_states(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    inbox = Inbox()
    made: dict[str, tuple[str, str]] = {}
    deleted: set[str] = set()
    try:
        for round_ in range(4):
            with serving(tmp_path, **inbox.env()) as running:
                for i in range(5):
                    kind, fails = rng.choice(sorted(FRAMES)), rng.random() < 0.25
                    prompt = f"[delay_ms={rng.choice((0, 5, 20))}] {i}" + (" [fail_after=3]" if fails else "")
                    made[ask(running, kind, prompt)] = kind, "failed" if fails else "completed"
                    if rng.random() < 0.5:
                        victim = rng.choice(sorted(made.keys() - deleted))
                        time.sleep(rng.random() * 0.3)
                        assert httpx.delete(f"{running.url}/v1/videos/{victim}", timeout=60).status_code == 200
                        deleted.add(victim)
                time.sleep(rng.random())
                if round_ < 3:
                    running.process.send_signal(rng.choice((9, 15)))
                    running.process.wait(30)
        with serving(tmp_path, **inbox.env()) as running:
            left = made.keys() - deleted
            listed = httpx.get(f"{running.url}/v1/videos?limit=100").json()["data"]
            assert {video["id"] for video in listed} == left
            deadline = time.monotonic() + 180
            for one in left:
                while (video := state(running, one))["status"] in ("queued", "in_progress"):
                    assert time.monotonic() < deadline, video
                    time.sleep(0.05)
                kind, end = made[one]
                assert video["status"] == end, (kind, video)
                if end == "completed":
                    assert video["num_frames"] == FRAMES[kind], (kind, video)
                    assert frames_of(tmp_path / "data/videos" / one / "video.mp4") == (64, 48, FRAMES[kind])
            assert all(state(running, one)["error"]["code"] == "video_not_found" for one in deleted)
            found = folders(tmp_path)
            assert {one for one in left if made[one][1] == "completed"} == found.keys()
            for one, files in found.items():
                stray = [name for name in files if not name.startswith(("video.", "key-")) or name.endswith(".part")]
                assert not stray, (one, files)
            running.wait_for_metric('muybridge_model_leases{model="fake-video"}', 0.0)
            # Whoever was told of a video was told how it really ended; and of each that is left, somebody was.
            while not left <= inbox.kinds().keys():
                assert time.monotonic() < deadline, left - inbox.kinds().keys()
                time.sleep(0.1)
            for one, told in inbox.kinds().items():
                assert told == f"video.{made[one][1]}", one
    finally:
        inbox.close()
