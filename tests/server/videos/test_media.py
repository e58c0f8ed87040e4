"""Videos of videos, with sound, and what is shown of them: edits, uploads, narrations, sheets. On the fake."""

import base64
import io
import time
from pathlib import Path

import av
import httpx
import openai
import pytest
from PIL import Image
from support.servers import Running, serving
from support.videos import SIZE, clip, folders, frames_of, narration, tracks_of, wait

from adapters.fake.images import png

PICTURE = png(64, 48, (1, 2, 3))


@pytest.fixture(scope="module")
def server(video_server: Running) -> Running:
    return video_server


def ended(running: Running, reply: httpx.Response, timeout_s: float = 90) -> dict:
    assert reply.status_code == 200, reply.text
    deadline = time.monotonic() + timeout_s
    while (video := httpx.get(f"{running.url}/v1/videos/{reply.json()['id']}").json())["status"] not in (
        "completed",
        "failed",
    ):
        assert time.monotonic() < deadline, video
        time.sleep(0.05)
    return video


def post(running: Running, path: str = "", files: dict | None = None, **fields: object) -> httpx.Response:
    data = {"model": "fake-video", **{name: str(value) for name, value in fields.items()}}
    parts = {name: (None, value) for name, value in data.items()} | (files or {})
    return httpx.post(f"{running.url}/v1/videos{path}", files=parts, timeout=120)


def content(running: Running, video: dict, variant: str = "video") -> bytes:
    reply = httpx.get(f"{running.url}/v1/videos/{video['id']}/content?variant={variant}", timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.content


def seconds_of(video: dict) -> float:
    return video["num_frames"] / video["fps"]


def test_a_video_of_ours_is_edited_by_the_sdk(client: openai.OpenAI) -> None:
    first = client.videos.create(
        model="fake-video", prompt="a fox", size=SIZE, extra_body={"num_frames": 20, "seed": 5}
    )
    wait(client, first.id)
    edited = client.videos.edit(prompt="a hare", video=b"", extra_body={"video": {"id": first.id}, "strength": 0.5})
    assert edited.model_extra["num_frames"] == 20
    client.videos.delete(first.id)  # it has all that it needs of it
    assert wait(client, edited.id) == "completed"
    data = client.videos.download_content(edited.id).read()
    with av.open(io.BytesIO(data)) as container:
        assert len(list(container.decode(video=0))) == 20  # as long as it was, to the frame
    again = client.videos.remix(edited.id, prompt="a bear")
    assert wait(client, again.id) == "completed"
    assert client.videos.retrieve(again.id).seconds == edited.seconds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "container", "name"),
    [("libx264", "mp4", "a.mp4"), ("libvpx-vp9", "webm", "a.webm"), ("libx265", "mov", "x")],
)
def test_an_uploaded_video_is_edited_and_keeps_its_sound(
    server: Running, codec: str, container: str, name: str, tmp_path: Path
) -> None:
    made = clip(30, 25, codec=codec, container=container, sound_s=1.0 if container != "mov" else 0)
    video = ended(server, post(server, "/edits", {"video": (name, made, "text/plain")}, prompt="snow", strength=0.4))
    assert (video["status"], video["num_frames"], video["fps"], video["size"]) == ("completed", 30, 25, "64x48"), video
    pictures, sound = tracks_of(content(server, video))
    assert pictures == pytest.approx(1.2)
    assert (sound is None) == (container == "mov")
    if sound is not None:
        assert 0.9 < sound <= pictures


@pytest.mark.slow
def test_an_uploaded_video_is_extended_with_its_own_frames_first(client: openai.OpenAI, tmp_path: Path) -> None:
    longer = client.videos.extend(
        prompt="it goes on",
        seconds="4",
        video=("mine.mp4", clip(24, 24, (1280, 720), sound_s=1.0)),
        extra_body={"model": "fake-video"},
    )
    assert wait(client, longer.id) == "completed"
    video = client.videos.retrieve(longer.id)
    assert (video.seconds, video.size, video.model_extra["num_frames"]) == ("5", "1280x720", 24 + 96)
    data = client.videos.download_content(longer.id).read()
    (tmp_path / "video.mp4").write_bytes(data)
    assert frames_of(tmp_path / "video.mp4") == (1280, 720, 120)
    with av.open(str(tmp_path / "video.mp4")) as film:
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert shown[0][300, 300, 0] > 150 > shown[0][300, 1000, 0]  # red on the left, as it was sent
    assert shown[23][300, 1000, 1] > shown[0][300, 1000, 1] + 50
    assert abs(shown[119].astype(int) - shown[0]).mean() > 10
    assert tracks_of(data)[1] == pytest.approx(1.0, abs=0.05)
    assert client.videos.download_content(longer.id, variant="thumbnail").read()[:4] == b"\x89PNG"


def test_an_upload_of_another_rate_and_turned_is_as_players_show_it(server: Running) -> None:
    video = ended(server, post(server, "/edits", {"video": ("a", clip(15, 30, rotation=90))}, prompt="x"))
    assert (video["size"], video["num_frames"], video["fps"]) == ("48x64", 15, 30)


@pytest.mark.slow
def test_what_is_made_of_a_video_may_have_another_size(server: Running) -> None:
    files = {"video": ("a", clip(12, size=(320, 200)))}
    edited = ended(server, post(server, "/edits", files, prompt="x", size="64x48"))
    longer = ended(server, post(server, "/extensions", files, prompt="x", num_frames=6, width=96, height=48))
    assert [(one["status"], one["size"], one["num_frames"]) for one in (edited, longer)] == [
        ("completed", "64x48", 12),
        ("completed", "96x48", 18),
    ]
    again = ended(server, post(server, "/extensions", prompt="x", num_frames=6, size="48x64", video_id=edited["id"]))
    assert (again["size"], again["num_frames"]) == ("48x64", 18)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sound", [("mp3", "libmp3lame"), ("ogg", "libopus"), ("wav", "pcm_s16le"), ("flac", "flac"), ("mp4", "aac")]
)
def test_a_narration_of_any_kind_is_heard_and_never_longer_than_the_film(
    server: Running, sound: tuple[str, str]
) -> None:
    for seconds in (0.5, 7.0):
        file = {"audio": ("n.bin", narration(seconds, *sound))}
        video = ended(server, post(server, "", file, prompt="x", size="64x48", num_frames=49))
        assert video["status"] == "completed", video
        pictures, heard = tracks_of(content(server, video))
        assert pictures == pytest.approx(seconds_of(video))
        assert heard is not None
        assert heard <= pictures
        assert heard > min(seconds, pictures) - 0.1


@pytest.mark.slow
def test_a_narration_comes_as_data_url_and_stays_with_remixes_and_extensions(server: Running) -> None:
    url = "data:audio/mpeg;base64," + base64.b64encode(narration(1.0)).decode()
    body = {"model": "fake-video", "prompt": "x", "size": "64x48", "num_frames": 49, "audio": url}
    video = ended(server, httpx.post(f"{server.url}/v1/videos", json=body))
    heard = tracks_of(content(server, video))[1]
    remixed = ended(server, httpx.post(f"{server.url}/v1/videos/{video['id']}/remix", json={"prompt": "y"}))
    longer = {"video_id": video["id"], "prompt": "z", "num_frames": 24}
    extended = ended(server, httpx.post(f"{server.url}/v1/videos/extensions", json=longer))
    replaced = ended(server, post(server, "/extensions", {"audio": ("a", narration(2.5))}, **longer))
    assert [tracks_of(content(server, one))[1] for one in (remixed, extended)] == [heard, heard]
    assert tracks_of(content(server, replaced))[1] == pytest.approx(2.5, abs=0.05)
    assert httpx.get(f"{server.url}/v1/videos/{extended['id']}").json()["num_frames"] == 49 + 24


@pytest.mark.slow
def test_a_sequence_has_a_narration_that_a_killed_server_keeps(tmp_path: Path) -> None:
    scenes = [{"scene_number": n, "description": f"{n} [delay_ms=30]", "duration_frames": 24} for n in (1, 2)]
    with serving(tmp_path) as running:
        import json

        fields = {"scenes": json.dumps(scenes), "transition_frames": 0, "fps": 12, "size": "64x48"}
        reply = post(running, "/sequences", {"audio": ("n.mp3", narration(9.0))}, **fields)
        assert reply.status_code == 200, reply.text
        folder = tmp_path / "data/videos" / reply.json()["id"]
        assert (folder / "key-sound.m4a").exists()
        deadline = time.monotonic() + 60
        while not (folder / "clip-0.mp4").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.process.kill()
        running.process.wait(20)
    with serving(tmp_path) as running:
        video = ended(running, reply)
        assert (video["status"], video["num_frames"]) == ("completed", 48), video
        pictures, sound = tracks_of(content(running, video))
        assert 3.9 < sound <= pictures == 4.0
        assert folders(tmp_path)[video["id"]] == ["key-sound.m4a", "video.json", "video.mp4", "video.png"]


def test_all_that_is_seen_of_a_video_comes_in_ranges(server: Running) -> None:
    video = ended(server, post(server, "", prompt="x", size="640x360", num_frames=49))
    for variant, kind in (("video", "video/mp4"), ("thumbnail", "image/png"), ("spritesheet", "image/jpeg")):
        url = f"{server.url}/v1/videos/{video['id']}/content?variant={variant}"
        whole = httpx.get(url, timeout=60)
        assert (whole.status_code, whole.headers["content-type"]) == (200, kind)
        part = httpx.get(url, headers={"range": "bytes=5-14"})
        assert (part.status_code, part.content) == (206, whole.content[5:15])
        assert part.headers["content-range"] == f"bytes 5-14/{len(whole.content)}"
        assert httpx.get(url, headers={"range": f"bytes={len(whole.content)}-"}).status_code == 416
    sheet = Image.open(io.BytesIO(content(server, video, "spritesheet")))
    assert (sheet.format, sheet.size) == ("JPEG", (320 * 5, 180 * 5))
    assert httpx.get(f"{server.url}/v1/videos/{video['id']}/content?variant=x").status_code == 400


def test_sheets_of_short_films_and_of_many_at_once(client: openai.OpenAI) -> None:
    from concurrent.futures import ThreadPoolExecutor

    made = client.videos.create(model="fake-video", prompt="x", size=SIZE, extra_body={"num_frames": 3})
    with pytest.raises(openai.NotFoundError):
        client.videos.download_content("video_" + "0" * 30, variant="spritesheet")
    wait(client, made.id)
    with ThreadPoolExecutor(4) as threads:
        sheets = set(
            threads.map(lambda _: client.videos.download_content(made.id, variant="spritesheet").read(), range(4))
        )
    assert len(sheets) == 1
    assert Image.open(io.BytesIO(sheets.pop())).size == (960, 180)
    client.videos.delete(made.id)


def test_characters_are_refused_and_it_is_said_why(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as made:
        client.videos.create_character(name="fox", video=clip(5))
    with pytest.raises(openai.BadRequestError) as found:
        client.videos.get_character("char_1")
    for error in (made.value, found.value):
        assert (error.code, error.param) == ("unsupported_endpoint", "video")
        assert "keyframes" in error.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "fields", "files", "param"),
    [
        ("/edits", {"prompt": "x"}, {}, "video"),
        ("/edits", {"prompt": "x", "video_id": "video_1"}, {"video": ("a", b"\0" * 99)}, "video"),
        ("/edits", {"prompt": "x"}, {"video": ("a", b"\0" * 99)}, "video"),
        ("/edits", {"prompt": "x"}, {"video": ("a", b"\0\0\0\x20ftypisom" + b"\1" * 400)}, "video"),
        ("/edits", {"prompt": "x", "strength": 0}, {"video": ("a", clip(3))}, "strength"),
        ("/edits", {"prompt": "x", "strength": "nan"}, {"video": ("a", clip(3))}, "strength"),
        ("/edits", {"prompt": "x", "size": "1x1"}, {"video": ("a", clip(3))}, "size"),
        ("/edits", {"prompt": "x", "size": "64x48", "width": 64}, {"video": ("a", clip(3))}, "size"),
        ("/edits", {"prompt": "x", "fps": 12}, {"video": ("a", clip(3))}, "fps"),
        ("/edits", {"prompt": ""}, {"video": ("a", clip(3))}, "prompt"),
        ("/edits", {"prompt": "x"}, {"video": ("a", narration(1.0))}, "video"),
        ("/edits", {"prompt": "x"}, {"video": ("a", narration(1.0, "mp4", "aac"))}, "video"),
        ("/extensions", {"prompt": "x"}, {"video": ("a", clip(3))}, "seconds"),
        ("/extensions", {"prompt": "x", "seconds": 1, "num_frames": 9}, {"video": ("a", clip(3))}, "num_frames"),
        ("/extensions", {"prompt": "x", "seconds": 1, "fps": 9}, {"video": ("a", clip(3))}, "fps"),
        ("", {"prompt": "x"}, {"audio": ("a", b"not a sound")}, "audio"),
        ("", {"prompt": "x"}, {"audio": ("a", b"")}, "audio"),
        ("", {"prompt": "x"}, {"audio": ("a", clip(3))}, "audio"),
        ("", {"prompt": "x", "audio": "http://127.0.0.1/x.mp3"}, {}, "audio"),
        ("", {"prompt": "x", "audio": "data:image/png;base64,AAAA"}, {}, "audio"),
        ("", {"prompt": "x"}, {"video": ("a", clip(3))}, "video"),
        ("/transitions", {"prompt": "x"}, {"sound": ("a", b"x")}, "sound"),
    ],
)
def test_promise_28_what_cannot_be_filmed_is_named(
    server: Running, path: str, fields: dict, files: dict, param: str
) -> None:
    reply = post(server, path, files, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


def test_promise_3_what_was_refused_leaves_nothing(server: Running) -> None:
    data = Path(server.log).parent / "data"
    before = {path.name for path in (data / "videos").iterdir()}
    post(server, "/edits", {"video": ("a", b"\0" * 99)}, prompt="x")
    assert {path.name for path in (data / "videos").iterdir()} == before
    uploads = [path for path in (data / "uploads").iterdir() if path.is_dir()]
    assert len(uploads) == 1
    assert list(uploads[0].iterdir()) == []


def test_promise_11_what_one_key_has_waiting_is_limited_in_bytes(tmp_path: Path) -> None:
    data = base64.b64encode(png(64, 48, (1, 2, 3)) + bytes(60_000)).decode()
    body = {"model": "fake-video", "prompt": "[delay_ms=500]", "input_reference": f"data:image/png;base64,{data}"}
    limits = {"MUYBRIDGE_API_KEYS": "one,two", "MUYBRIDGE_MAX_VIDEO_BYTES_PER_KEY": "150000"}
    with serving(tmp_path, **limits) as running:

        def ask(key: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {key}"}
            return httpx.post(f"{running.url}/v1/videos", json=body, headers=headers, timeout=60)

        first = ask("one")
        assert (first.status_code, ask("one").status_code) == (200, 200)
        refused = ask("one")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert refused.headers["retry-after"]
        assert ask("two").status_code == 200
        with running.sdk(key="one") as client:
            client.videos.delete(first.json()["id"])
        assert ask("one").status_code == 200
        assert len(folders(tmp_path)) == 3  # what was refused left nothing


POINTS = ("key-sound.m4a", "clip-0-last.png", "clip-1.json", "clip-1.mp4", "video.mp4.part", "video.json", "video.mp4")


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
def test_promise_2_an_extension_of_an_upload_killed_anywhere_ends_whole(tmp_path: Path, point: str) -> None:
    """Kills as a file of the job appears; what the upload became is kept by the job alone."""
    with serving(tmp_path) as running:
        files = {"video": ("a.mp4", clip(20, sound_s=0.8)), "audio": ("b", narration(9.0))}
        reply = post(running, "/extensions", files, prompt="[delay_ms=20]", num_frames=12)
        assert reply.status_code == 200, reply.text
        folder = tmp_path / "data/videos" / reply.json()["id"]
        deadline = time.monotonic() + 60
        while not (folder / point).exists() and not (folder / "video.mp4").exists():
            assert time.monotonic() < deadline, (point, list(folder.iterdir()))
            time.sleep(0.002)
        running.process.kill()
        running.process.wait(20)
    with serving(tmp_path) as running:
        video = ended(running, reply)
        assert (video["status"], video["num_frames"]) == ("completed", 32), video
        assert frames_of(folder / "video.mp4") == (64, 48, 32)
        pictures, sound = tracks_of(content(running, video))
        assert 1.2 < sound <= pictures == pytest.approx(32 / 24)
        assert folders(tmp_path)[video["id"]] == ["key-sound.m4a", "video.json", "video.mp4", "video.png"]


@pytest.mark.long
@pytest.mark.parametrize("point", ["clip-0.mp4", "video.png", "video.json", "video.mp4.part", "video.mp4"])
def test_promise_2_a_narrated_video_killed_anywhere_ends_whole(tmp_path: Path, point: str) -> None:
    with serving(tmp_path) as running:
        reply = post(running, "", {"audio": ("b", narration(9.0))}, prompt="x", num_frames=24, size="64x48")
        folder = tmp_path / "data/videos" / reply.json()["id"]
        deadline = time.monotonic() + 60
        while not (folder / point).exists() and not (folder / "video.mp4").exists():
            assert time.monotonic() < deadline, (point, list(folder.iterdir()))
            time.sleep(0.002)
        running.process.kill()
        running.process.wait(20)
    with serving(tmp_path) as running:
        video = ended(running, reply)
        pictures, sound = tracks_of(content(running, video))
        assert 0.9 < sound <= pictures == 1.0
        assert folders(tmp_path)[video["id"]] == ["key-sound.m4a", "video.json", "video.mp4", "video.png"]
