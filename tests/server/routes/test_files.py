"""/v1/files through the official client, strict; limits, expiry and owners."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from support.servers import Running, serving

from adapters.fake.images import png

PICTURE = png(16, 16, (1, 2, 3))
KEY, OTHER = "sk-first-secret", "sk-second-secret"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server where a key may have three files of 500 bytes together."""
    limits = {"MUYBRIDGE_MAX_FILES_PER_KEY": "3", "MUYBRIDGE_MAX_FILE_BYTES_PER_KEY": "500"}
    with serving(tmp_path_factory.mktemp("files"), MUYBRIDGE_API_KEYS=f"{KEY},{OTHER}", **limits) as running:
        yield running


def test_a_file_is_created_listed_read_and_deleted(client: openai.OpenAI) -> None:
    made = client.files.create(file=("a fox.png", PICTURE, "image/png"), purpose="vision")
    assert (made.bytes, made.filename, made.purpose, made.status) == (len(PICTURE), "a fox.png", "vision", "processed")
    assert made.expires_at == pytest.approx(made.created_at + 30 * 24 * 3600, abs=2)
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == PICTURE
    assert made.id in [file.id for file in client.files.list(purpose="vision", limit=100)]
    assert client.files.delete(made.id).deleted
    for gone in (client.files.retrieve, client.files.delete, client.files.content):
        with pytest.raises(openai.NotFoundError):
            gone(made.id)


def test_pages_follow_one_another_in_both_orders(client: openai.OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.png", PICTURE), purpose="user_data") for n in range(5)]
    try:
        oldest_first = [file.id for file in client.files.list(purpose="user_data", limit=2, order="asc")]
        assert oldest_first == [file.id for file in made]
        assert [file.id for file in client.files.list(purpose="user_data", limit=3)] == oldest_first[::-1]
        page = client.files.list(purpose="user_data", limit=2, after=made[1].id, order="asc")
        assert ([file.id for file in page.data], page.has_more) == ([made[2].id, made[3].id], True)
        with pytest.raises(openai.NotFoundError):
            client.files.list(after="file-nothing")
    finally:
        for file in made:
            client.files.delete(file.id)


def test_a_file_says_when_it_goes(client: openai.OpenAI) -> None:
    expiry = {"anchor": "created_at", "seconds": 3600}
    made = client.files.create(file=("x.png", PICTURE), purpose="vision", expires_after=expiry)
    assert made.expires_at == pytest.approx(made.created_at + 3600, abs=2)
    client.files.delete(made.id)


def test_promise_28_what_is_wrong_is_named(fake_server: Running) -> None:
    def create(files: dict, **fields: str) -> tuple[int, str | None]:
        reply = httpx.post(f"{fake_server.url}/v1/files", data=fields, files=files)
        return reply.status_code, reply.json()["error"]["param"]

    file = {"file": ("x.png", PICTURE)}
    assert create({"other": ("x.png", PICTURE)}, purpose="vision") == (400, "other")
    assert create(file) == (400, "purpose")
    assert create(file, purpose="batch") == (400, "purpose")
    assert create(file, purpose="nothing") == (400, "purpose")
    assert create({"file": ("x.png", b"")}, purpose="vision") == (400, "file")
    assert create({"file": ("x.png", b"x" * (50 * 2**20 + 1))}, purpose="vision") == (413, "file")
    for seconds in ("3599", "2592001", "soon"):
        fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": seconds}
        assert create(file, purpose="vision", **fields) == (400, "expires_after.seconds")
    reply = httpx.post(f"{fake_server.url}/v1/files", json={"purpose": "vision"})
    assert reply.json()["error"]["param"] == "file"
    assert httpx.get(f"{fake_server.url}/v1/files?limit=0").status_code == 400


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\x.png", "a\x01b\u202e.png", "x" * 900, "\N{FOX FACE}.png"])
def test_promise_23_a_files_name_leads_nowhere(client: openai.OpenAI, name: str) -> None:
    made = client.files.create(file=(name, PICTURE), purpose="vision")
    assert len(made.filename) <= 255
    assert not set("/\\\x01\u202e") & set(made.filename)
    assert client.files.content(made.id).read() == PICTURE
    client.files.delete(made.id)


@pytest.mark.parametrize("file_id", ["..", "%2e%2e", "..%2fmuybridge.sqlite", "file-%00", "x" * 3000])
def test_promise_23_an_id_is_no_path(fake_server: Running, file_id: str) -> None:
    for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
        assert httpx.get(fake_server.url + path).status_code in (400, 404)


def test_promise_25_anothers_file_is_not_there(small: Running) -> None:
    mine, others = small.sdk(key=KEY), small.sdk(key=OTHER)
    made = mine.files.create(file=("x.png", PICTURE), purpose="vision")
    assert made.id not in [file.id for file in others.files.list()]
    for theirs in (others.files.retrieve, others.files.delete, others.files.content):
        with pytest.raises(openai.NotFoundError):
            theirs(made.id)
    with pytest.raises(openai.NotFoundError):
        others.files.list(after=made.id)
    assert mine.files.delete(made.id).deleted


def test_a_key_has_its_limits_and_no_bytes_of_a_refused_file_stay(small: Running, tmp_path: Path) -> None:
    del tmp_path
    sdk, folder = small.sdk(key=OTHER), small.log.parent / "data" / "files"
    before = set(os.listdir(folder))
    made = [sdk.files.create(file=("x.png", PICTURE), purpose="vision") for _ in range(3)]
    with pytest.raises(openai.RateLimitError) as caught:
        sdk.files.create(file=("x.png", PICTURE), purpose="vision")
    assert caught.value.code == "file_quota_exceeded"
    sdk.files.delete(made.pop().id)
    with pytest.raises(openai.RateLimitError):
        sdk.files.create(file=("x.png", b"x" * 499), purpose="vision")
    assert set(os.listdir(folder)) - before == {file.id for file in made}
    for file in made:
        sdk.files.delete(file.id)
    assert set(os.listdir(folder)) == before


def test_promise_5_what_expires_is_gone_with_its_bytes(tmp_path: Path) -> None:
    with serving(tmp_path, MUYBRIDGE_EXPIRE_FILES_S="1") as running:
        sdk, folder = running.sdk(), tmp_path / "data" / "files"
        made = sdk.files.create(file=("x.png", PICTURE), purpose="vision")
        assert sdk.files.retrieve(made.id) == made
        time.sleep(1.1)
        with pytest.raises(openai.NotFoundError):
            sdk.files.retrieve(made.id)
        stray = folder / "file-stray"
        stray.write_bytes(b"of a server that was killed before it had a row")
        old = time.time() - 2 * 3600
        for path in (stray, folder / made.id):
            os.utime(path, (old, old))
    with serving(tmp_path, MUYBRIDGE_EXPIRE_FILES_S="1") as running:
        deadline = time.monotonic() + 20
        while os.listdir(folder):
            assert time.monotonic() < deadline
            time.sleep(0.1)
