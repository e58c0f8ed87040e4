"""Downloading, verifying, loading, unloading and removing models over HTTP, with an admin key and without."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.hub import COMMIT, Faults, Hub, weights
from support.servers import Running, serving

FILES = {"config.json": b"{}", "model.safetensors": weights(4_000_000)}
CATALOG = """
models:
  org/tiny: {kind: text, backend: vllm, license: MIT, sources: [hf://org/tiny]}
  org/tiny/download: {kind: text, backend: fake-text}
  broken: {kind: text, backend: vllm, sources: [hf://org/missing]}
  mine: {kind: image, backend: diffusers-image, sources: [mine]}
profiles:
  admin: {models: [org/tiny, broken, mine, fake-text, fake-image], aliases: {gpt-4o: fake-text, tiny: org/tiny}}
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub(FILES) as server:
        yield server


@pytest.fixture(scope="module")
def server(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("admin")
    (home / "catalog.yaml").write_text(CATALOG.replace("  org/tiny/download: {kind: text, backend: fake-text}\n", ""))
    (home / "mine").mkdir()
    (home / "mine" / "model.safetensors").write_bytes(weights(100))
    settings = {
        "MUYBRIDGE_CATALOG": str(home / "catalog.yaml"),
        "MUYBRIDGE_CACHE_DIR": str(home / "cache"),
        "MUYBRIDGE_API_KEYS": "user",
        "MUYBRIDGE_ADMIN_KEYS": "admin",
        "HF_ENDPOINT": hub.url,
    }
    with serving(home, profile="admin", **settings) as running:
        yield running


@pytest.fixture
def http(server: Running, hub: Hub) -> Iterator[httpx.Client]:
    """An administrator, and a cache without org/tiny."""
    hub.faults = Faults()
    headers = {"Authorization": "Bearer admin"}
    with httpx.Client(base_url=f"{server.url}/v1/models", headers=headers, timeout=30) as client:
        client.delete("/org/tiny/download")
        client.delete("/org/tiny")
        yield client


def finished(http: httpx.Client, model: str = "org/tiny") -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while (job := http.get(f"/{model}/download").json())["completed_at"] is None:
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def test_a_download_is_a_job_that_can_be_polled(http: httpx.Client, hub: Hub) -> None:
    hub.faults.bytes_per_s = 8_000_000
    job = http.post("/org/tiny/download").json()
    assert job["id"].startswith("download_")
    assert (job["object"], job["model"], job["error"], job["completed_at"]) == (
        "model.download",
        "org/tiny",
        None,
        None,
    )
    assert http.post("/tiny/download", json={}).json()["id"] == job["id"], "one at a time for each model"
    seen = {http.get("/org/tiny/download").json()["progress"] for _ in range(200) if not time.sleep(0.002)}
    done = finished(http)
    assert (done["id"], done["status"], done["progress"]) == (job["id"], "completed", 100.0)
    assert len(seen) > 1, "it never told of progress"
    assert http.post("/org/tiny/download").json()["id"] != job["id"]
    assert finished(http)["status"] == "completed", "what is here already is a download that is over at once"


def test_a_download_can_be_followed(http: httpx.Client, hub: Hub) -> None:
    hub.faults.bytes_per_s = 8_000_000
    with http.stream("POST", "/org/tiny/download", json={"stream": True}) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    assert events[-1]["status"] == "completed"
    downloading = [event for event in events if event["stage"] == "downloading"]
    assert [event["done_bytes"] for event in downloading] == sorted(event["done_bytes"] for event in downloading)
    assert {event["total_bytes"] for event in downloading} == {sum(map(len, FILES.values()))}
    assert len({event["id"] for event in events}) == 1


def test_a_failed_download_says_so_and_never_done(http: httpx.Client) -> None:
    job = http.post("/broken/download").json()
    done = finished(http, "broken")
    assert (done["id"], done["status"]) == (job["id"], "failed")
    assert done["error"]["code"] == "model_load_failed"
    assert "has no such repository" in done["error"]["message"]
    with http.stream("POST", "/broken/download", json={"stream": True}) as reply:
        body = reply.read().decode()
    assert "[DONE]" not in body
    assert json.loads(body.strip().rpartition("data: ")[2])["error"]["code"] == "model_load_failed"


def test_a_cancelled_download_stops_and_goes_on_later(http: httpx.Client, hub: Hub, server: Running) -> None:
    hub.faults.bytes_per_s = 2_000_000
    part = server.log.parent / "cache" / "models" / ".org--tiny.hub" / "files" / "model.safetensors.part"
    http.post("/org/tiny/download")
    while not (part.exists() and part.stat().st_size > 500_000):
        time.sleep(0.01)
    assert http.delete("/org/tiny/download").json()["status"] == "cancelled"
    here = part.stat().st_size
    hub.faults, hub.ranges = Faults(), []
    http.post("/org/tiny/download")
    assert finished(http)["status"] == "completed"
    assert hub.ranges == [f"bytes={here}-"]


def test_a_reader_that_goes_away_does_not_stop_the_download(http: httpx.Client, hub: Hub) -> None:
    hub.faults.bytes_per_s = 8_000_000
    with http.stream("POST", "/org/tiny/download", json={"stream": True}) as reply:
        next(reply.iter_lines())
    assert finished(http)["status"] == "completed"


def test_models_are_verified(http: httpx.Client, server: Running) -> None:
    assert http.post("/org/tiny/verify").json()["error"]["code"] == "model_not_cached"
    http.post("/org/tiny/download")
    finished(http)
    found = http.post("/tiny/verify").json()
    assert (found["id"], found["object"], found["is_valid"]) == ("org/tiny", "model.verification", True)
    assert (found["files_checked"], found["hashed"], found["problems"]) == (2, True, [])
    [weight] = server.log.parent.glob("cache/models/org--tiny/model.safetensors")
    weight.write_bytes(weight.read_bytes()[:-1] + b"!")
    found = http.post("/org/tiny/verify").json()
    assert (found["is_valid"], found["problems"]) == (False, ["model.safetensors: its checksum differs"])
    assert found["message"] == "model.safetensors: its checksum differs."
    assert http.post("/mine/verify").json()["hashed"] is False


def test_the_cache_is_listed_and_emptied(http: httpx.Client, server: Running) -> None:
    assert http.get("/cache").json() == {"object": "list", "data": []}
    http.post("/org/tiny/download")
    finished(http)
    [model] = http.get("/cache").json()["data"]
    assert (model["id"], model["object"], model["source"]) == ("org/tiny", "model.cached", "hf://org/tiny")
    assert (model["commit"], model["size_bytes"]) == (COMMIT, sum(map(len, FILES.values())))
    assert abs(model["downloaded_at"] - time.time()) < 60
    with server.sdk(key="admin") as sdk:  # OpenAI's own method for it
        gone = sdk.models.delete("org/tiny")
    assert (gone.id, gone.deleted) == ("org/tiny", True)
    assert http.get("/cache").json()["data"] == []
    assert http.delete("/org/tiny").json()["error"]["code"] == "model_not_found"


def test_models_are_loaded_and_unloaded(http: httpx.Client, server: Running) -> None:
    assert http.get("/fake-text").json()["state"] == "unloaded"
    assert http.post("/gpt-4o/load").json()["state"] == "ready"
    assert http.get("/fake-text").json()["state"] == "ready"
    reply = http.delete("/fake-text")
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "model_in_use")
    assert http.post("/fake-text/unload", json={}).json()["state"] == "unloaded"
    with server.sdk(key="user") as sdk:
        sdk.chat.completions.create(model="fake-text", messages=[{"role": "user", "content": "hi"}])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/org/tiny/download"), ("POST", "/org/tiny/verify"), ("POST", "/org/tiny/load"), ("POST", "/nope/unload"),
        ("GET", "/cache"), ("GET", "/org/tiny/download"), ("DELETE", "/org/tiny"), ("DELETE", "/org/tiny/download"),
    ],
)  # fmt: skip
def test_promise_24_without_an_admin_key_nothing_can_be_done(server: Running, method: str, path: str) -> None:
    url = f"{server.url}/v1/models{path}"
    reply = httpx.request(method, url, headers={"Authorization": "Bearer user"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "admin_key_required")
    assert httpx.request(method, url).status_code == 401


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/unknown/model/download", None, 404, "model_not_found"),
        ("POST", "/org/tiny/explode", None, 404, "unknown_url"),
        ("POST", "/download", None, 404, "unknown_url"),
        ("POST", "/fake-text/download", None, 400, "model_has_no_files"),
        ("POST", "/fake-text/verify", None, 400, "model_has_no_files"),
        ("POST", "/org/tiny/download", {"stream": "yes"}, 400, "invalid_value"),
        ("GET", "/mine/download", None, 404, "download_not_found"),
        ("GET", "/unknown/download", None, 404, "model_not_found"),
        ("DELETE", "/..%2f..%2fetc", None, 404, "model_not_found"),
        ("DELETE", "/unknown", None, 404, "model_not_found"),
        ("DELETE", "/mine/download", None, 404, "download_not_found"),
    ],
)
def test_promise_7_wrong_requests_are_told_so(
    http: httpx.Client, method: str, path: str, body: Any, status: int, code: str
) -> None:
    reply = http.request(method, path, json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


def test_a_served_name_wins_over_an_action(tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text(CATALOG.replace("[org/tiny,", "[org/tiny, org/tiny/download,"))
    settings = {"MUYBRIDGE_CATALOG": str(tmp_path / "catalog.yaml")}
    with serving(tmp_path, profile="admin", **settings) as running, running.sdk() as sdk:
        assert sdk.models.retrieve("org/tiny/download").id == "org/tiny/download"
        reply = httpx.post(f"{running.url}/v1/models/org/tiny/download/load")
        assert (reply.json()["id"], reply.json()["state"]) == ("org/tiny/download", "ready")
        with pytest.raises(openai.NotFoundError):
            sdk.models.delete("mine")


def test_a_load_takes_a_device_and_a_compute_type(http: httpx.Client) -> None:
    assert http.post("/gpt-4o/load", json={"device": "auto", "compute_type": "auto"}).json()["state"] == "ready"
    for fields, param in (
        ({"device": "tpu"}, "device"),
        ({"device": "cpu"}, "device"),  # the fakes have no such option
        ({"compute_type": "float16"}, "compute_type"),
        ({"compute_type": 16}, "compute_type"),
    ):
        refused = http.post("/gpt-4o/load", json=fields)
        assert refused.status_code == 400, fields
        assert refused.json()["error"]["param"] == param, fields
    assert http.get("/gpt-4o").json()["state"] == "ready", "a refused load changes nothing"
    ignored = http.post("/gpt-4o/unload", json={"device": "cpu"}).headers
    assert ignored["x-muybridge-ignored"] == "device"
