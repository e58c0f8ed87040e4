"""Sequences, transitions, extensions and remixes: of the exact length, whenever the server is killed. On the fake."""

import base64
import contextlib
import json
import random
import shutil
import time
from pathlib import Path

import av
import httpx
import openai
import pytest
from support.servers import Running, serving
from support.videos import folders, frames_of, probed, wait

from adapters.fake.images import png

SIZE = (64, 48)
PICTURES = [png(*SIZE, colour) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
URLS = ["data:image/png;base64," + base64.b64encode(one).decode() for one in PICTURES]
FRAMES = (10, 17, 13)
ALL_FRAMES = sum(FRAMES) + 2 * 6


@pytest.fixture(scope="module")
def films_server(video_server: Running) -> Running:
    return video_server


def scenes(delay_ms: int = 0) -> list[dict]:
    return [
        {
            "scene_number": number,
            "description": f"scene {number} [delay_ms={delay_ms}]",
            "keyframe": URLS[number - 1],
            "duration_frames": frames,
            "motion_hint": "slowly",
        }
        for number, frames in enumerate(FRAMES, 1)
    ]


def sequence(running: Running, **change: object) -> httpx.Response:
    body = {
        "model": "fake-video",
        "scenes": scenes(),
        "transition_frames": 6,
        "fps": 12,
        "width": SIZE[0],
        "height": SIZE[1],
        "num_inference_steps": 5,
        **change,
    }
    return httpx.post(f"{running.url}/v1/videos/sequences", json=body, timeout=60)


def ended(running: Running, video_id: str, timeout_s: float = 90) -> dict:
    """The video once it has ended. Not by the strict SDK: these sizes are none of OpenAI's four."""
    deadline = time.monotonic() + timeout_s
    while True:
        video = httpx.get(f"{running.url}/v1/videos/{video_id}").json()
        if video["status"] in ("completed", "failed"):
            return video
        assert time.monotonic() < deadline, video
        time.sleep(0.05)


def colours(path: Path) -> list[tuple[int, int, int]]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24")[20, 20] for frame in container.decode(video=0)]
    return [tuple(int(part) for part in frame) for frame in frames]


@pytest.mark.slow
def test_a_sequence_is_one_film_of_its_scenes_in_order_and_of_their_exact_lengths(
    films_server: Running, tmp_path: Path
) -> None:
    shuffled = scenes()
    random.Random(1).shuffle(shuffled)
    reply = sequence(films_server, scenes=shuffled, seed=7)
    assert reply.status_code == 200, reply.text
    assert (reply.json()["num_frames"], reply.json()["seconds"]) == (ALL_FRAMES, f"{ALL_FRAMES / 12:.2f}")
    video = ended(films_server, reply.json()["id"])
    assert (video["status"], video["num_frames"], video["fps"], video["seed"]) == ("completed", ALL_FRAMES, 12, 7)
    assert [video["prompt"].count(f"scene {number} ") for number in (1, 2, 3)] == [1, 1, 1]
    content = httpx.get(f"{films_server.url}/v1/videos/{video['id']}/content").content
    (tmp_path / "video.mp4").write_bytes(content)
    assert frames_of(tmp_path / "video.mp4") == (*SIZE, ALL_FRAMES)
    seen = colours(tmp_path / "video.mp4")
    # The fake gives each prompt its colour; a transition has the prompt of the scene that it leads to.
    near = [seen[0]]
    for colour in seen:
        if max(abs(a - b) for a, b in zip(colour, near[-1], strict=True)) > 12:
            near.append(colour)
    assert len(near) == 3
    assert httpx.get(f"{films_server.url}/v1/videos/{video['id']}/content?variant=thumbnail").content[:4] == b"\x89PNG"


def test_a_sequence_comes_as_a_form_too_and_is_cut_hard_without_transitions(films_server: Running) -> None:
    fields = {"model": "fake-video", "transition_frames": "0", "size": "64x48", "scenes": json.dumps(scenes())}
    files = {name: (None, value) for name, value in fields.items()}
    reply = httpx.post(f"{films_server.url}/v1/videos/sequences", files=files)
    assert reply.status_code == 200, reply.text
    assert ended(films_server, reply.json()["id"])["num_frames"] == sum(FRAMES)


POINTS = (
    "key-2.png",
    "clip-0.json",
    "clip-0.mp4",
    "clip-1.mp4",
    "clip-1-last.png",
    "clip-2.png",
    "clip-2.mp4",
    "clip-4.mp4",
    "video.png",
    "video.mp4.part",
    "video.mp4",
)
"""Files of a job in the order in which they appear."""


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
def test_promise_2_a_sequence_killed_anywhere_ends_as_one_whole_film(
    tmp_path: Path, point: str, subtests: pytest.Subtests
) -> None:
    """Kills as a file of the job appears: where something of it was just kept, or was just about to be."""
    with serving(tmp_path) as running:
        video_id = sequence(running, scenes=scenes(delay_ms=20)).json()["id"]
        folder = tmp_path / "data/videos" / video_id
        deadline = time.monotonic() + 60
        while not (folder / point).exists() and not (folder / "video.mp4").exists():
            assert time.monotonic() < deadline, (point, list(folder.iterdir()))
            time.sleep(0.002)
        running.process.kill()
        running.process.wait(20)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("clip-*.mp4")}
    with serving(tmp_path) as running:
        kept: set[str] = set()
        deadline = time.monotonic() + 90
        while (video := httpx.get(f"{running.url}/v1/videos/{video_id}").json())["status"] != "completed":
            assert video["status"] in ("queued", "in_progress"), video
            assert time.monotonic() < deadline, video
            for name, made_at in before.items():
                with contextlib.suppress(FileNotFoundError):  # the film is done, and it is removed
                    assert (folder / name).stat().st_mtime_ns == made_at, "a finished scene was made anew"
                    kept.add(name)
            time.sleep(0.02)
        assert kept == before.keys() or point.startswith("video") or len(before) == 5, point
        assert len(httpx.get(f"{running.url}/v1/videos").json()["data"]) == 1
        assert frames_of(folder / "video.mp4") == (*SIZE, ALL_FRAMES), point
        names = folders(tmp_path)[video_id]
        assert names == ["key-0.png", "key-1.png", "key-2.png", "video.json", "video.mp4", "video.png"], point
        with subtests.test("ffprobe counts the frames and has no complaint"):
            if shutil.which("ffprobe") is None:
                pytest.skip("needs ffprobe; that PyAV decodes the same frames was checked")
            assert probed(folder / "video.mp4") == (ALL_FRAMES, ""), point


@pytest.mark.slow
def test_promise_5_a_deleted_sequence_stops_and_leaves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        for wait_s in (0.0, 0.5, 1.0, 1.5):
            video_id = sequence(running, scenes=scenes(delay_ms=40)).json()["id"]
            time.sleep(wait_s)
            assert httpx.delete(f"{running.url}/v1/videos/{video_id}").status_code == 200
            running.wait_for_metric('muybridge_model_leases{model="fake-video"}', 0.0)
            assert folders(tmp_path) == {}
        whole = sequence(running).json()["id"]
        assert ended(running, whole)["status"] == "completed"


def test_a_scene_that_fails_fails_the_sequence_and_says_why(films_server: Running) -> None:
    broken = scenes()
    broken[1]["description"] = "[fail_after=2]"
    video = ended(films_server, sequence(films_server, scenes=broken).json()["id"])
    assert (video["status"], video["error"]["code"]) == ("failed", "generation_failed")


def test_a_transition_has_two_pictures(films_server: Running) -> None:
    url = f"{films_server.url}/v1/videos/transitions"
    fields = {"model": "fake-video", "prompt": "over", "size": "64x48", "num_frames": 9}
    as_json = httpx.post(url, json={**fields, "start_image": URLS[0], "end_image": URLS[1]})
    files = {"start_image": ("a.png", PICTURES[0], "image/png"), "end_image": ("b.png", PICTURES[1], "image/png")}
    as_form = httpx.post(url, data={name: str(value) for name, value in fields.items()}, files=files)
    for reply in (as_json, as_form):
        assert reply.status_code == 200, reply.text
        video = ended(films_server, reply.json()["id"])
        assert (video["status"], video["num_frames"]) == ("completed", 9)
        content = httpx.get(f"{films_server.url}/v1/videos/{video['id']}/content").content
        assert b"'over', None, 2" in content


def test_a_video_is_remixed_with_its_seed_and_pictures(client: openai.OpenAI) -> None:
    first = client.videos.create(
        model="fake-video", prompt="a fox", size="1280x720", input_reference=("a.png", PICTURES[0]), seconds="4"
    )
    wait(client, first.id)
    again = client.videos.remix(first.id, prompt="a hare")
    assert (again.remixed_from_video_id, again.prompt, again.seconds) == (first.id, "a hare", "4.04")
    client.videos.delete(first.id)  # it has all that it needs of it
    assert wait(client, again.id) == "completed"
    assert b"'a hare', 0, 1" in client.videos.download_content(again.id).read()
    twice = client.videos.remix(again.id, prompt="a bear")
    assert wait(client, twice.id) == "completed"


def test_a_video_is_extended_from_its_last_frame(client: openai.OpenAI, tmp_path: Path) -> None:
    first = client.videos.create(
        model="fake-video", prompt="a fox", size="1280x720", extra_body={"num_frames": 9, "fps": 8}
    )
    with pytest.raises(openai.BadRequestError) as early:
        client.videos.extend(prompt="on", seconds="4", video=b"", extra_body={"video": {"id": first.id}})
    assert early.value.code == "video_not_ready"
    wait(client, first.id)
    longer = client.videos.extend(prompt="on", seconds="4", video=b"", extra_body={"video": {"id": first.id}})
    assert longer.model_extra["num_frames"] == 9 + 32
    client.videos.delete(first.id)
    assert wait(client, longer.id) == "completed"
    (tmp_path / "video.mp4").write_bytes(client.videos.download_content(longer.id).read())
    assert frames_of(tmp_path / "video.mp4") == (1280, 720, 41)
    assert client.videos.retrieve(longer.id).seconds == "5.12"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"scenes": []}, "scenes"),
        ({"scenes": "["}, "scenes"),
        ({"scenes": [{"scene_number": 1}]}, "scenes[0].description"),
        ({"scenes": [{"scene_number": 1, "description": "x"}] * 2}, "scenes[1].scene_number"),
        ({"scenes": [{"scene_number": n, "description": "x"} for n in range(33)]}, "scenes"),
        ({"scenes": [{"scene_number": n, "description": "x", "duration_frames": 1024} for n in range(17)]}, "scenes"),
        ({"scenes": [{"scene_number": 1, "description": "x", "duration_frames": 0}]}, "scenes[0].duration_frames"),
        ({"scenes": [{"scene_number": 1, "description": "x", "keyframe": "http://x"}]}, "scenes[0].keyframe"),
        ({"transition_frames": 1}, "transition_frames"),
        ({"transition_frames": -1}, "transition_frames"),
        ({"audio": "x"}, "audio"),
        ({"fps": 0}, "fps"),
        ({"size": "1x1", "width": None, "height": None}, "size"),
    ],
)
def test_promise_28_a_wrong_parameter_of_a_sequence_is_named(films_server: Running, change: dict, param: str) -> None:
    reply = sequence(films_server, **change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("transitions", {"prompt": "x", "start_image": URLS[0]}, "end_image"),
        ("transitions", {"prompt": "x", "start_image": 1, "end_image": URLS[0]}, "start_image"),
        ("transitions", {"prompt": "x", "start_image": URLS[0], "end_image": URLS[0], "keyframes": []}, "keyframes"),
        ("transitions", {"prompt": "x", "start_image": URLS[0], "end_image": URLS[0], "num_frames": 1}, "num_frames"),
        ("extensions", {"prompt": "x", "seconds": 4}, "video"),
        ("extensions", {"prompt": "x", "seconds": 4, "video": {"id": "a"}, "video_id": "b"}, "video"),
        ("extensions", {"prompt": "x", "seconds": 4, "video": {"id": 7}}, "video"),
    ],
)
def test_promise_28_a_wrong_parameter_is_named(films_server: Running, path: str, body: dict, param: str) -> None:
    reply = httpx.post(f"{films_server.url}/v1/videos/{path}", json={"model": "fake-video", **body})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


def test_promise_25_a_foreign_or_missing_source_is_a_404(films_server: Running, client: openai.OpenAI) -> None:
    for video_id in ("video_" + "0" * 30, "../etc", "x"):
        reply = httpx.post(f"{films_server.url}/v1/videos/extensions", json={"video_id": video_id, "prompt": "x"})
        assert reply.status_code == 404
    with pytest.raises(openai.NotFoundError):
        client.videos.remix("video_" + "0" * 30, prompt="x")
    upload = {"video": ("a.mp4", b"\0" * 100, "video/mp4")}
    reply = httpx.post(f"{films_server.url}/v1/videos/extensions", files=upload, data={"prompt": "x", "seconds": "4"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "video")
