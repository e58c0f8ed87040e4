"""Downloads from a model hub that breaks off, lies, stalls and redirects; and from one whose files must not be had."""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hub import COMMIT, REPOSITORY, Faults, Hub, hub_of, weights
from support.nvml import Card, simulated

from adapters.base import LoadProgress
from adapters.catalog.catalog import CATALOG, load_catalog
from adapters.errors import ModelLoadFailed
from adapters.files import is_fp16
from adapters.loader import http_download
from adapters.loader.cache import list_cached
from adapters.loader.fetch import MANIFEST, HubSource, fetch, is_ready, wants_half
from adapters.loader.verification import verify

TINY = HubSource(repo="org/tiny")
LARGE = {"config.json": b"{}", "model.safetensors": weights(4_000_000)}


def ignore(_: LoadProgress) -> None:
    pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_download, "BACKOFF_S", 0.01)


async def pull(hub: Hub, cache: Path, *, source: HubSource = TINY, backend: str = "vllm", report: Any = ignore) -> Path:
    return await fetch("tiny", [source], cache, report, backend=backend, hub_endpoint=hub.url)


# --- what is taken ---------------------------------------------------------------------------------------------------


async def test_a_hub_gives_safetensors_and_json_but_no_code(hub: Hub, tmp_path: Path) -> None:
    stages: list[LoadProgress] = []
    directory = await pull(hub, tmp_path, report=stages.append)
    names = {path.relative_to(directory).as_posix() for path in directory.rglob("*")}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "vocabulary.json", MANIFEST}
    assert (directory / "model.safetensors").read_bytes() == REPOSITORY["model.safetensors"]
    assert set(hub.asked).isdisjoint({"pytorch_model.bin", "modeling_evil.py"})
    manifest = json.loads((directory / MANIFEST).read_text())
    assert (manifest["name"], manifest["commit"]) == ("tiny", COMMIT)
    assert verify(directory).is_valid
    last = [stage for stage in stages if stage.stage == "downloading"][-1]
    assert last.done_bytes == last.total_bytes == sum(file["size_bytes"] for file in manifest["files"])
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", ".tiny.lock", ".tiny.accessed"}


async def test_a_hub_gives_whisper_its_weights(hub: Hub, tmp_path: Path) -> None:
    directory = await pull(hub, tmp_path, backend="faster-whisper")
    assert {path.name for path in directory.iterdir()} == {
        "config.json", "model.bin", "tokenizer.json", "vocabulary.json", MANIFEST,
    }  # fmt: skip


async def test_one_file_and_folders_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    files = {"model_index.json": b"{}", "unet/model.safetensors": weights(), "unet/config.json": b"{}"}
    with hub_of(files) as hub:
        assert (await pull(hub, tmp_path / "a", backend="diffusers-image") / "unet" / "config.json").is_file()
        one = HubSource(repo="org/tiny", file="unet/model.safetensors")
        directory = await pull(hub, tmp_path / "b", source=one)
        assert [path.name for path in directory.rglob("*.*")] == [MANIFEST, "model.safetensors"]


async def test_files_for_others_are_left_there(tmp_path: Path) -> None:
    taken = {"model_index.json": b"{}", "unet/model.safetensors": weights(64), "vae/only.fp16.safetensors": weights(64)}
    taken |= {"tokenizer/spiece.model": b"\x0a\x0e", "tokenizer/merges.txt": b"a b", "scheduler/config.json": b"{}"}
    left = {"all-in-one.safetensors": weights(64), "unet/model.fp16.safetensors": weights(64), "unet/model.onnx": b"x"}
    with hub_of(taken | left) as hub:
        await pull(hub, tmp_path, backend="diffusers-image")
        assert set(hub.asked) == set(taken)
    with hub_of({"model.safetensors": weights(64), "consolidated.safetensors": weights(64)}) as hub:
        await pull(hub, tmp_path / "text")
        assert hub.asked == ["model.safetensors"]


async def test_a_hub_gives_an_embedding_model_its_pooling(tmp_path: Path) -> None:
    taken = {
        "model.safetensors": weights(64),
        "modules.json": b"[]",
        "1_Pooling/config.json": b"{}",
        "config.json": b"{}",
    }
    left = {
        "openvino/config.json": b"{}",
        "onnx/1_Pooling/config.json": b"{}",
        "2_Dense/model.safetensors": weights(64),
    }
    with hub_of(taken | left) as hub:
        for backend in ("transformers-embedding", "vllm-embedding"):
            hub.asked.clear()
            directory = await pull(hub, tmp_path / backend, backend=backend)
            assert set(hub.asked) == set(taken)
            assert (directory / "1_Pooling" / "config.json").is_file()


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [Faults(tampered=True), Faults(tampered_json=True)])
async def test_promise_16_tampered_files_are_refused(faults: Faults, hub: Hub, tmp_path: Path) -> None:
    hub.faults = faults
    with pytest.raises(ModelLoadFailed, match=r"checksum differs|not JSON"):
        await pull(hub, tmp_path)
    assert not (tmp_path / "tiny").exists()
    hub.faults = Faults()
    assert verify(await pull(hub, tmp_path)).is_valid


@pytest.mark.parametrize(
    "faults",
    [
        Faults(truncate_at=20_000),
        Faults(truncate_at=20_000, redirect=True),
        Faults(statuses=[503, 500, 502, 429, 408]),
        Faults(redirect=True),
        Faults(gzip=True),
    ],
)
async def test_promise_16_what_breaks_off_is_continued(faults: Faults, hub: Hub, tmp_path: Path) -> None:
    hub.faults = faults
    directory = await pull(hub, tmp_path)
    assert (directory / "model.safetensors").read_bytes() == REPOSITORY["model.safetensors"]
    if faults.truncate_at:
        assert hub.ranges == ["bytes=20000-", "bytes=40000-"]


async def test_promise_27_a_token_goes_to_the_hub_and_not_where_it_redirects(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.faults.redirect = True
    await pull(hub, tmp_path)
    assert hub.authorizations == {"127.0.0.1": "Bearer hf_secret", "localhost": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faults", "why"),
    [
        (Faults(statuses=[503] * 20), "stopped after 0 of .*the hub answered 503"),
        (Faults(statuses=[404]), "answered 404"),
        (Faults(truncate_at=0), "stopped after 0"),
        (Faults(truncate_at=20_000, wrong_range=True), "stopped after"),
        (Faults(truncate_at=20_000, refuse_range=True), "stopped after"),
        (Faults(truncate_at=20_000, no_ranges=True), "stopped after 20000"),
        (Faults(longer=True), "longer than the hub announced"),
    ],
)
async def test_promise_16_a_hub_that_never_delivers_is_given_up(
    faults: Faults, why: str, hub: Hub, tmp_path: Path
) -> None:
    hub.faults = faults
    with pytest.raises(ModelLoadFailed, match=why):
        await pull(hub, tmp_path)
    assert not (tmp_path / "tiny").exists()
    hub.faults = Faults()
    assert verify(await pull(hub, tmp_path)).is_valid


async def test_a_hub_without_ranges_sends_all_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults = Faults(no_ranges=True, truncate_at=20_000)
    pulling = asyncio.create_task(pull(hub, tmp_path))
    while not hub.ranges:
        await asyncio.sleep(0.005)
    hub.faults.truncate_at = None
    assert verify(await pulling).is_valid


async def test_a_stalled_connection_is_given_up_and_the_download_continued(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_download, "STALL_S", 0.3)
    hub.faults.stalls = 2
    started = time.monotonic()
    assert verify(await pull(hub, tmp_path)).is_valid
    assert 0.6 <= time.monotonic() - started < 5
    hub.faults = Faults(stalls=100, truncate_at=0)
    with pytest.raises(ModelLoadFailed, match=r"no data came for 0\.3 s"):
        await pull(hub, tmp_path / "other")


async def test_a_model_whose_licence_is_not_accepted_says_so(hub: Hub, tmp_path: Path) -> None:
    hub.gated = True
    with pytest.raises(ModelLoadFailed, match=r"licence must be accepted .* HF_TOKEN"):
        await pull(hub, tmp_path)


async def test_what_does_not_fit_on_the_disk_is_refused_before_the_first_byte(hub: Hub, tmp_path: Path) -> None:
    hub.faults.size = 10**15
    with pytest.raises(ModelLoadFailed, match=r"needs 4,000,000\.00 GB more on the disk, and [\d,]+\.\d\d GB are free"):
        await pull(hub, tmp_path)
    assert hub.asked == []


# --- resuming --------------------------------------------------------------------------------------------------------


async def test_a_cancelled_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with hub_of(LARGE) as hub:
        hub.faults.bytes_per_s = 4_000_000
        part = tmp_path / ".tiny.hub" / "files" / "model.safetensors.part"
        pulling = asyncio.create_task(pull(hub, tmp_path))
        while size_of(part) < 500_000:
            await asyncio.sleep(0.01)
        started = time.monotonic()
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        assert time.monotonic() - started < 0.5
        assert not (tmp_path / "tiny").exists()
        here = size_of(part)
        hub.faults = Faults()
        assert verify(await pull(hub, tmp_path)).is_valid
        assert hub.ranges == [f"bytes={here}-"]


PULL = """
import asyncio, sys
from pathlib import Path
from adapters.catalog.sources import HubSource
from adapters.loader.fetch import fetch
source = HubSource(repo="org/tiny")
asyncio.run(fetch("tiny", [source], Path(sys.argv[1]), lambda _: None, backend="vllm", hub_endpoint=sys.argv[2]))
"""


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.long
async def test_promise_16_a_pull_killed_at_random_points_resumes_and_verifies(tmp_path: Path) -> None:
    dice = random.Random(os.environ.get("MUYBRIDGE_SEED", "1"))
    part = tmp_path / ".tiny.hub" / "files" / "model.safetensors.part"
    with hub_of(LARGE) as hub:
        hub.faults.bytes_per_s = 4_000_000
        for _ in range(3):
            target = size_of(part) + dice.randrange(1, 1_000_000)
            arguments = (sys.executable, "-c", PULL, tmp_path, hub.url)
            process = await asyncio.create_subprocess_exec(*arguments, cwd=CATALOG.parents[2])
            while size_of(part) < target and process.returncode is None:
                await asyncio.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            assert not is_ready(tmp_path / "tiny", [TINY])
            assert list_cached(tmp_path) == []
        hub.push({"config.json": b'{"new": 1}', "model.safetensors": weights(1000)}, "f" * 40)
        hub.faults = Faults()
        here = size_of(part)
        directory = await pull(hub, tmp_path)
        assert hub.ranges[-1] == f"bytes={here}-"
        assert here > 3
        assert verify(directory).is_valid
        assert (directory / "model.safetensors").read_bytes() == LARGE["model.safetensors"]
        assert json.loads((directory / MANIFEST).read_text())["commit"] == COMMIT, "not the commit that it began with"
        assert len(hub.ranges) == 3, "one each but for the first"


async def test_promise_16_leftovers_that_are_damaged_are_fetched_anew(tmp_path: Path) -> None:
    with hub_of(LARGE) as hub:
        hub.faults.statuses = [404]
        with pytest.raises(ModelLoadFailed):
            await pull(hub, tmp_path)
        (tmp_path / ".tiny.hub" / "files" / "model.safetensors.part").write_bytes(bytes(1_000_000))
        assert verify(await pull(hub, tmp_path)).is_valid
        assert hub.ranges == ["bytes=1000000-"]


async def test_a_commit_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    with hub_of(LARGE) as hub:
        hub.faults.statuses = [404]
        with pytest.raises(ModelLoadFailed):
            await pull(hub, tmp_path)
        hub.push({"model.safetensors": weights(1000)}, "f" * 40)
        hub.old.clear()
        assert json.loads((await pull(hub, tmp_path) / MANIFEST).read_text())["commit"] == "f" * 40


# --- malicious repositories ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"\x80\x04"}, "no weights that may be loaded"),
        ({"model.safetensors": weights(), "config.json": b'{"auto_map": {"AutoModel": "evil.Evil"}}'}, "auto_map"),
        ({"../model.safetensors": weights()}, "may lead out of the directory"),
        ({"/etc/model.safetensors": weights()}, "may lead out of the directory"),
        ({"a\\..\\b.safetensors": weights()}, "may lead out of the directory"),
        ({"unet/../../b.safetensors": weights()}, "may lead out of the directory"),
        ({"model.safetensors": b"\xff" * 100}, "longer than the file"),
        (
            {
                "model.safetensors": weights(),
                "model.safetensors.index.json": b'{"weight_map": {"w": "../../secret.safetensors"}}',
            },
            "names a file outside of the directory",
        ),
        ({"model.bin": b"\x80\x04 a pickle"}, "pickle"),
    ],
)
async def test_promise_17_a_malicious_repository_is_refused(files: dict[str, bytes], why: str, tmp_path: Path) -> None:
    backend = "faster-whisper" if "model.bin" in files else "diffusers-image"
    with hub_of(files) as hub, pytest.raises(ModelLoadFailed, match=why):
        await pull(hub, tmp_path / "cache", backend=backend)
    assert not (tmp_path / "cache" / "tiny").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob(".tiny.hub/files"))


async def test_promise_17_a_configuration_is_refused_before_gigabytes_are_fetched(tmp_path: Path) -> None:
    files = {"model.safetensors": weights(), "config.json": b'{"auto_map": {"AutoModel": "evil.Evil"}}'}
    with hub_of(files) as hub, pytest.raises(ModelLoadFailed, match="auto_map"):
        await pull(hub, tmp_path)
    assert hub.asked == ["config.json"]


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "evil.py"])
async def test_promise_17_a_pickle_is_refused_even_where_it_is_asked_for(name: str, tmp_path: Path) -> None:
    with hub_of({name: b"\x80\x04"}) as hub, pytest.raises(ModelLoadFailed):
        await pull(hub, tmp_path, source=HubSource(repo="org/tiny", file=name))
    assert hub.asked == []


INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.19.0",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "safety_checker": [None, None],
}
"""As SDXL's repository has it, which also has folders for other programs."""


@pytest.mark.parametrize("half", [True, False])
async def test_only_the_pipelines_folders_are_taken_and_one_precision(half: bool, tmp_path: Path) -> None:
    both = {"unet/model.safetensors", "unet/model.fp16.safetensors"}
    sharded = {
        "vae/model.safetensors.index.json": b'{"weight_map": {"w": "model-00001-of-00001.safetensors"}}',
        "vae/model-00001-of-00001.safetensors": weights(64),
        "vae/model.safetensors.index.fp16.json": b'{"weight_map": {"w": "model.fp16-00001-of-00001.safetensors"}}',
        "vae/model.fp16-00001-of-00001.safetensors": weights(64),
    }
    files = dict.fromkeys(both, weights(64)) | sharded
    files |= {"model_index.json": json.dumps(INDEX).encode(), "scheduler/scheduler_config.json": b"{}"}
    for folder in ("vae_1_0", "safety_checker", "onnx", "image_encoder"):
        files |= {f"{folder}/model.safetensors": weights(64), f"{folder}/config.json": b"{}"}
    with hub_of(files) as hub:
        directory = await fetch(
            "tiny", [TINY], tmp_path, ignore, backend="diffusers-image", hub_endpoint=hub.url, half=half
        )
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*.*")} - {MANIFEST}
    assert found == {"model_index.json", "scheduler/scheduler_config.json"} | {
        name for name in (*both, *sharded) if is_fp16(name) == half
    }


def test_half_precision_is_fetched_for_gpus_only() -> None:
    models = load_catalog().models
    assert not wants_half(models["sdxl"]), "this machine has no GPU"
    with simulated(Card(24)):
        wanted = {name for name, entry in models.items() if wants_half(entry)}
        assert {"sdxl", "sdxl-refined", "sdxl-768"} <= wanted
        assert wanted.isdisjoint({"ltx-video", "whisper-large-v3", "qwen2.5-14b-instruct"})
        for options in ({"device": "cpu"}, {"dtype": "float32"}):
            assert not wants_half(models["sdxl"].model_copy(update={"options": options}))
