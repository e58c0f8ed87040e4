"""Video jobs that nothing can lose: killed and stopped servers, lost replies, limits, expiry, owners. On the fake."""

import base64
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import httpx2
import openai
import pytest
from support import postgres
from support.servers import Running, serving
from support.videos import SIZE, film, folders, frames_of, wait

from adapters.fake.images import png

PICTURE = png(64, 64, (1, 2, 3))
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
DONE = ["video.json", "video.mp4", "video.png"]


def until(reached, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_promise_2_a_server_that_ends_loses_no_acknowledged_video(tmp_path: Path, how: str) -> None:
    with serving(tmp_path) as running, running.sdk() as client:
        done = film(client, "done")
        wait(client, done)
        slow = film(client, "[delay_ms=100]", num_inference_steps=30)
        queued = [
            client.videos.create(model="fake-video", prompt=f"{i}", size=SIZE, input_reference=("a.png", PICTURE)).id
            for i in range(3)
        ]
        until(lambda: client.videos.retrieve(slow).progress > 10)
        assert {client.videos.retrieve(one).status for one in queued} == {"queued"}
        getattr(running.process, how)()
        running.process.wait(20)
    with serving(tmp_path) as running, running.sdk() as client:
        assert [video.id for video in client.videos.list(order="asc")] == [done, slow, *queued]
        assert client.videos.retrieve(slow).status in ("queued", "in_progress")
        assert [wait(client, one) for one in (slow, *queued)] == ["completed"] * 4
        ended = [client.videos.retrieve(one).completed_at for one in (slow, *queued)]
        assert ended == sorted(ended)  # in their order still
        assert b"'2', None, 1" in client.videos.download_content(queued[2]).read()  # with its picture
        assert frames_of(tmp_path / "data/videos" / done / "video.mp4") == (1280, 720, 97)
        assert folders(tmp_path)[slow] == DONE


def test_promise_2_a_video_is_queued_until_its_model_works_on_it(tmp_path: Path) -> None:
    with serving(tmp_path) as running, running.sdk() as client:
        slow, second = film(client, "[delay_ms=60]"), film(client, "x")
        until(lambda: client.videos.retrieve(slow).status == "in_progress")
        assert client.videos.retrieve(second).status == "queued"
        assert running.metric('muybridge_videos{status="queued"}') == 1.0
        assert running.metric('muybridge_videos{status="in_progress"}') == 1.0
        running.process.kill()
        running.process.wait(20)
    with sqlite3.connect(tmp_path / "data" / "muybridge.sqlite") as database:  # nobody runs, and the row says so once
        assert dict(database.execute("SELECT id, status FROM video_jobs")) == {slow: "in_progress", second: "queued"}


def test_promise_3_what_a_killed_server_left_unfinished_is_swept(tmp_path: Path) -> None:
    stray = tmp_path / "data" / "videos" / f"video_{'0' * 30}"
    stray.mkdir(parents=True)
    (stray / "key-0.png").write_bytes(PICTURE)
    (stray / "clip-0.mp4.part").write_bytes(b"half")
    with serving(tmp_path):
        until(lambda: not stray.exists())


def test_promise_5_expiry_removes_record_and_files_together(tmp_path: Path) -> None:
    with serving(tmp_path, MUYBRIDGE_EXPIRE_S="1") as running, running.sdk() as client:
        video = film(client, "x")
        failed = film(client, "[fail_after=1]")
        wait(client, video)
        assert client.videos.retrieve(video).expires_at is not None
        until(lambda: client.videos.list().data == [])
        until(lambda: folders(tmp_path) == {})
        for one in (video, failed):
            with pytest.raises(openai.NotFoundError):
                client.videos.download_content(one)


@pytest.mark.slow
def test_promise_5_deleting_races_completing_and_downloading(client: openai.OpenAI, fake_server: Running) -> None:
    for delay_s in (0.0, 0.2, 0.3, 0.4, 0.5, 0.6):
        video = film(client, "x")
        stop = threading.Event()

        def download(video: str = video, stop: threading.Event = stop) -> list[int]:
            seen = []
            while not stop.is_set():
                reply = httpx.get(f"{fake_server.url}/v1/videos/{video}/content")
                seen.append(reply.status_code)
                assert reply.status_code == 404 or reply.content[4:8] == b"ftyp"
            return seen

        with ThreadPoolExecutor(1) as threads:
            downloads = threads.submit(download)
            time.sleep(delay_s)
            client.videos.delete(video)
            stop.set()
            assert set(downloads.result()) <= {200, 404}
        with pytest.raises(openai.NotFoundError):
            client.videos.retrieve(video)
    fake_server.wait_for_metric('muybridge_model_leases{model="fake-video"}', 0.0)


def post(url: str, body: dict, key: str = "", **headers: str) -> httpx.Response:
    if key:
        headers["authorization"] = f"Bearer {key}"
    return httpx.post(f"{url}/v1/videos", json={"model": "fake-video", **body}, headers=headers, timeout=60)


def test_promise_6_the_same_idempotency_key_is_the_same_video(fake_server: Running) -> None:
    url, key = fake_server.url, {"idempotency-key": f"k{time.time()}"}
    first = post(url, {"prompt": "a"}, **key).json()
    assert post(url, {"prompt": "a"}, **key).json()["id"] == first["id"]
    other = post(url, {"prompt": "b"}, **key)
    assert (other.status_code, other.json()["error"]["param"]) == (400, "Idempotency-Key")
    with ThreadPoolExecutor(8) as threads:
        together = {"idempotency-key": f"t{time.time()}"}
        ids = {reply.json()["id"] for reply in threads.map(lambda _: post(url, {"prompt": "c"}, **together), range(8))}
    assert len(ids) == 1
    for wrong in ("", "x" * 256):
        reply = post(url, {"prompt": "a"}, **{"idempotency-key": wrong})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "Idempotency-Key")


def test_promise_6_a_lost_reply_makes_no_second_video(fake_server: Running) -> None:
    """The SDK's own retry: the first reply is cut after the commit, so it sends the same again, with a new boundary."""
    url, prompt = fake_server.url, f"lost {time.time()}"
    replies = []

    class Cut(httpx2.HTTPTransport):
        def handle_request(self, request):
            reply = super().handle_request(request)
            reply.read()
            replies.append((request.headers.get("x-stainless-retry-count"), request.headers.get("content-type")))
            if len(replies) == 1:
                raise httpx2.ReadError("cut", request=request)
            return reply

    sdk = openai.OpenAI(
        base_url=f"{url}/v1", api_key="x", max_retries=2, http_client=openai.DefaultHttpxClient(transport=Cut())
    )
    with sdk:
        video = sdk.videos.create(model="fake-video", prompt=prompt, size=SIZE, input_reference=("a.png", PICTURE))
        assert [count for count, _ in replies] == ["0", "1"]
        assert replies[0][1] != replies[1][1]
        assert [one.id for one in sdk.videos.list() if one.prompt == prompt] == [video.id]
        again = sdk.videos.create(model="fake-video", prompt=prompt, size=SIZE, input_reference=("a.png", PICTURE))
        assert again.id != video.id  # no retry: another video is wanted
        other = sdk.videos.create(
            model="fake-video",
            prompt=prompt,
            size=SIZE,
            input_reference=("a.png", PICTURE + b" "),
            extra_headers={"x-stainless-retry-count": "1"},
        )
        assert other.id not in (video.id, again.id)  # other bytes


def test_promise_11_jobs_are_limited_by_key_and_together(tmp_path: Path) -> None:
    limits = {"MUYBRIDGE_MAX_VIDEO_JOBS": "3", "MUYBRIDGE_MAX_VIDEO_JOBS_PER_KEY": "2"}
    with serving(tmp_path, MUYBRIDGE_API_KEYS="one,two", **limits) as running:
        slow = {"prompt": "[delay_ms=1000]"}
        first = post(running.url, slow, "one")
        assert [first.status_code, post(running.url, slow, "one").status_code] == [200, 200]
        refused = post(running.url, slow, "one")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert refused.headers["retry-after"]
        assert post(running.url, slow, "two").status_code == 200
        assert post(running.url, slow, "two").status_code == 503
        with running.sdk(key="one") as client:
            client.videos.delete(first.json()["id"])
        assert post(running.url, slow, "two").status_code == 200
        assert len(folders(tmp_path)) <= 3  # what was refused left nothing


def test_promise_25_another_keys_video_is_a_404(tmp_path: Path) -> None:
    serves = serving(tmp_path, MUYBRIDGE_API_KEYS="one,two")
    with serves as running, running.sdk(key="one") as mine, running.sdk(key="two") as theirs:
        video = film(mine, "x")
        wait(mine, video)
        for call in (theirs.videos.retrieve, theirs.videos.delete, theirs.videos.download_content):
            with pytest.raises(openai.NotFoundError) as refused:
                call(video)
            assert refused.value.code == "video_not_found"
        with pytest.raises(openai.NotFoundError):
            theirs.videos.list(after=video)
        assert theirs.videos.list().data == []
        key = {"idempotency-key": "same"}
        ids = {post(running.url, {"prompt": "x"}, whose, **key).json()["id"] for whose in ("one", "two")}
        assert len(ids) == 2
        assert mine.videos.retrieve(video).status == "completed"


@pytest.mark.parametrize("video_id", ["video_", "..%2f..%2fetc", "video_" + "g" * 30, "x" * 5000, "video_%00", "%ff"])
def test_promise_23_no_id_leads_anywhere(fake_server: Running, video_id: str) -> None:
    for path in ("", "/content"):
        reply = httpx.get(f"{fake_server.url}/v1/videos/{video_id}{path}")
        assert reply.status_code in (400, 404)
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_keyframes_come_by_column_as_the_sdk_sends_them(client: openai.OpenAI, fake_server: Running) -> None:
    frames = [{"index": 0, "image": DATA_URL}, {"index": -1, "image": DATA_URL}]
    video = film(client, "columns", keyframes=frames, num_frames=9)
    wait(client, video)
    assert b"'columns', None, 2" in client.videos.download_content(video).read()
    frames[1]["strength"] = 0.5
    with pytest.raises(openai.BadRequestError) as refused:
        film(client, "columns", keyframes=frames, num_frames=9)
    assert refused.value.param == "keyframes"


@pytest.mark.slow
def test_promise_31_a_database_that_fails_is_a_503_and_the_server_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path) as running, running.sdk() as client:
        video = film(client, "x")
        wait(client, video)
        path = tmp_path / "data" / "muybridge.sqlite"
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(openai.InternalServerError) as busy:
                film(client, "y")
            assert (busy.value.status_code, busy.value.code) == (503, "database_busy")
            other.execute("ROLLBACK")
        second = film(client, "z")
        assert wait(client, second) == "completed"
        assert folders(tmp_path).keys() == {video, second}


def test_promise_27_nothing_of_a_request_is_in_the_queues_own_database(tmp_path: Path) -> None:
    with serving(tmp_path) as running, running.sdk() as client:
        wait(client, film(client, "a secret prompt"))
    directory = tmp_path / "data" / "videos"
    for path in directory.glob("queue.sqlite*"):
        assert b"secret" not in path.read_bytes()
    assert "secret" not in running.log.read_text()
    assert (directory.stat().st_mode & 0o777) == 0o700


@pytest.mark.long
@pytest.mark.skipif(postgres.binaries() is None, reason="needs PostgreSQL (Debian: apt-get install postgresql)")
def test_promise_2_the_same_on_postgresql(tmp_path: Path) -> None:
    place = tmp_path
    with tempfile.TemporaryDirectory() as directory, postgres.postgres(Path(directory)) as database:
        for ends in ("kill", "terminate"):
            tmp_path = place / ends
            with serving(tmp_path, MUYBRIDGE_DATABASE_URL=database.url) as running, running.sdk() as client:
                made = [film(client, "[delay_ms=40]"), film(client, "second"), film(client, "third")]
                until(lambda client=client, made=made: client.videos.retrieve(made[0]).progress > 5)
                client.videos.delete(made.pop())
                getattr(running.process, ends)()
                running.process.wait(20)
            with serving(tmp_path, MUYBRIDGE_DATABASE_URL=database.url) as running, running.sdk() as client:
                assert [wait(client, one) for one in made] == ["completed"] * 2
                assert folders(tmp_path) == dict.fromkeys(made, DONE)
                for one in made:
                    client.videos.delete(one)
                # The database fails under a running job: it goes on, and its end is told once that works again.
                last = film(client, "[delay_ms=20]")
                until(lambda client=client, last=last: client.videos.retrieve(last).status == "in_progress")
                database.stop()
                with pytest.raises(openai.InternalServerError) as gone:
                    client.videos.retrieve(last)
                assert gone.value.status_code == 503
                time.sleep(2)
                database.start()
                assert wait(client, last) == "completed"


@pytest.mark.slow
def test_a_server_that_does_not_film_does_not_wait_for_the_queues_library() -> None:
    code = "import sys, server.app; assert not {'dbos', 'av', 'PIL'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
