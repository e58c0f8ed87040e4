"""/v1/videos, on the fake."""

import base64
import json
import time

import httpx
import openai
import pytest
from support.servers import Running

from adapters.fake.images import png

SIZE = "1280x720"  # one of the four that the SDK's strict mode knows
PICTURE = png(16, 16, (1, 2, 3))
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()


def test_create_poll_and_download(client: openai.OpenAI) -> None:
    video = client.videos.create_and_poll(model="fake-video", prompt="a fox", seconds="4", size=SIZE)
    assert (video.status, video.progress, video.seconds, video.size) == ("completed", 100, "4.04", SIZE)
    assert video.model_extra["num_frames"] == 97
    assert video.completed_at >= video.created_at
    content = client.videos.download_content(video.id)
    assert content.read()[4:8] == b"ftyp"
    assert client.videos.download_content(video.id, variant="thumbnail").read().startswith(b"\x89PNG")
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


def test_a_reference_comes_as_file_url_object_or_json(client: openai.OpenAI, fake_server: Running) -> None:
    made = [client.videos.create(model="fake-video", prompt="x", size=SIZE, input_reference=("a.png", PICTURE))]
    for value in (DATA_URL, {"image_url": DATA_URL}):
        body = {"model": "fake-video", "prompt": "x", "size": SIZE, "input_reference": value}
        reply = httpx.post(f"{fake_server.url}/v1/videos", json=body)
        assert reply.status_code == 200, reply.text
    made.append(
        client.videos.create(
            model="fake-video", prompt="x", size=SIZE, extra_body={"input_reference": {"image_url": DATA_URL}}
        )
    )
    keyframes = json.dumps(
        [{"frame_index": 0, "image": DATA_URL}, {"frame_index": -1, "image": DATA_URL, "strength": 0.5}]
    )
    made.append(
        client.videos.create(
            model="fake-video", prompt="x", size=SIZE, extra_body={"keyframes": keyframes, "num_frames": 9, "seed": 3}
        )
    )
    assert made[-1].model_extra["num_frames"] == 9
    wait(client, made[-1].id)
    assert b"'x', 3, 2" in client.videos.download_content(made[-1].id).read()  # two keyframes reached the model


def wait(client: openai.OpenAI, video_id: str) -> None:
    assert client.videos.poll(video_id, poll_interval_ms=20).status == "completed"


def test_progress_moves_and_an_unfinished_video_has_no_content(client: openai.OpenAI) -> None:
    video = client.videos.create(
        model="fake-video", prompt="[delay_ms=30]", size=SIZE, extra_body={"num_inference_steps": 50}
    )
    with pytest.raises(openai.NotFoundError) as early:
        client.videos.download_content(video.id)
    assert early.value.code == "video_not_ready"
    assert early.value.response.headers["x-should-retry"] == "false"
    seen = set()
    while (state := client.videos.retrieve(video.id)).status != "completed":
        seen.add((state.status, state.progress))
        time.sleep(0.02)
    assert len({progress for status, progress in seen if status == "in_progress"}) > 5


def test_jobs_of_one_model_wait_for_each_other_and_deleting_one_stops_it(
    client: openai.OpenAI, fake_server: Running
) -> None:
    slow = client.videos.create(model="fake-video", prompt="[delay_ms=1000]", size=SIZE)
    queued = client.videos.create(model="fake-video", prompt="next", size=SIZE)
    deadline = time.monotonic() + 2
    while client.videos.retrieve(slow.id).status != "in_progress":
        assert time.monotonic() < deadline
    assert client.videos.retrieve(queued.id).status == "queued"
    client.videos.delete(slow.id)
    fake_server.wait_for_metric('muybridge_model_leases{model="fake-video"}', 0.0, timeout_s=3)
    wait(client, queued.id)


def test_a_failed_video_is_a_200_that_says_why(client: openai.OpenAI) -> None:
    video = client.videos.create_and_poll(model="fake-video", prompt="[fail_after=2]", size=SIZE, poll_interval_ms=20)
    assert (video.status, video.error.code) == ("failed", "generation_failed")


@pytest.mark.parametrize(
    ("asked", "num_frames", "fps", "seconds"),
    [
        ({}, 97, 24, "4.04"),
        ({"seconds": 2}, 49, 24, "2.04"),
        ({"seconds": 2, "fps": 12}, 25, 12, "2.08"),
        ({"num_frames": 25}, 25, 24, "1.04"),
        ({"num_frames": 25, "fps": 12}, 25, 12, "2.08"),
        ({"seconds": 5, "num_frames": 121}, 121, 24, "5.04"),  # together they are the rate
        ({"seconds": 2, "num_frames": 25}, 25, 12, "2.08"),
        ({"seconds": 5, "num_frames": 120, "fps": 24}, 120, 24, "5"),  # as good as the same
    ],
)
def test_seconds_and_frames_are_reconciled_and_told(
    fake_server: Running, asked: dict, num_frames: int, fps: int, seconds: str
) -> None:
    reply = httpx.post(
        f"{fake_server.url}/v1/videos", json={"model": "fake-video", "prompt": "x", "size": SIZE, **asked}
    )
    told = reply.json()
    assert (told["num_frames"], told["fps"], told["seconds"]) == (num_frames, fps, seconds)


def test_lists_are_paged(client: openai.OpenAI) -> None:
    made = [client.videos.create(model="fake-video", prompt=str(i), size=SIZE).id for i in range(5)]
    page = client.videos.list(limit=2)
    assert ([video.id for video in page.data], page.has_more) == (made[:-3:-1], True)
    lenient = client.with_options()
    lenient._strict_response_validation = False  # Others' videos are in it, of sizes that OpenAI does not know.
    everything = [video.id for video in lenient.videos.list(limit=2)]
    assert everything[:5] == made[::-1]
    assert [video.id for video in lenient.videos.list(order="asc")] == everything[::-1]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": "x"}, "seconds"),
        ({"seconds": 121}, "seconds"),
        ({"seconds": 100}, "seconds"),
        ({"seconds": 1, "num_frames": 9, "fps": 24}, "seconds"),
        ({"seconds": 100, "num_frames": 9}, "seconds"),
        ({"seconds": 1, "num_frames": 1000}, "seconds"),
        ({"num_frames": 0}, "num_frames"),
        ({"fps": 0}, "fps"),
        ({"size": "1x1"}, "size"),
        ({"keyframes": "["}, "keyframes"),
        ({"keyframes": [{"frame_index": 0, "image": "http://127.0.0.1/x.png"}]}, "keyframes[0].image"),
        ({"input_reference": "file:///etc/passwd"}, "input_reference"),
        ({"audio": "x"}, "audio"),
        ({"lora": {"name": "x"}}, "lora"),
    ],
)
def test_promise_28_a_wrong_parameter_is_named(fake_server: Running, change: dict, param: str) -> None:
    reply = httpx.post(f"{fake_server.url}/v1/videos", json={"model": "fake-video", "prompt": "x", **change})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


@pytest.mark.parametrize(
    ("query", "param"), [("limit=x", "limit"), ("limit=101", "limit"), ("limit=-1", "limit"), ("order=up", "order")]
)
def test_promise_28_a_wrong_query_parameter_is_named(fake_server: Running, query: str, param: str) -> None:
    reply = httpx.get(f"{fake_server.url}/v1/videos?secret=1&{query}")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
    assert "secret" not in reply.text
