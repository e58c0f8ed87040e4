"""What may be loaded: a zoo of files that may not, headers that lie, and sums that differ."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save
from support.hub import CTRANSLATE2, safetensors, weights

from adapters.base import LoadProgress
from adapters.catalog.catalog import CATALOG
from adapters.errors import Interrupted, ModelLoadFailed
from adapters.loader import verification
from adapters.loader.fetch import LocalSource, fetch
from adapters.loader.verification import find_problems, is_unsafe_name, require_loadable, verify

STARTER = CATALOG.parents[2] / "starter" / "checkpoints"


def ignore(_: LoadProgress) -> None:
    pass


def header(**tensor: Any) -> bytes:
    """A file of eight bytes of weights whose header says this of them."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **tensor}
    return raw({"w": entry})


def raw(entries: Any, body: bytes = bytes(8)) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + body


# --- what is sound ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["image", "video", "vision"])
def test_the_starters_checkpoints_are_sound(name: str) -> None:
    assert list(find_problems(STARTER / name)) == []
    found = verify(STARTER / name)
    assert (found.is_valid, found.hashed) == (True, False)
    assert found.size_bytes == sum(path.stat().st_size for path in (STARTER / name).rglob("*") if path.is_file())


@given(st.lists(st.tuples(st.sampled_from(["float32", "float16", "int64", "uint8"]), st.integers(0, 5)), max_size=6))
def test_what_the_reference_writes_is_sound(tmp_path_factory: pytest.TempPathFactory, shapes: Any) -> None:
    import numpy as np

    directory = tmp_path_factory.mktemp("sound")
    tensors = {f"t{i}": np.zeros((rows, 3), dtype) for i, (dtype, rows) in enumerate(shapes)}
    (directory / "model.safetensors").write_bytes(save(tensors, {"format": "np"}))
    assert list(find_problems(directory)) == []


def test_whispers_weights_and_types_below_a_byte_are_sound(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(CTRANSLATE2 + b"weights")
    (tmp_path / "model.safetensors").write_bytes(safetensors({"w": ("F4", [4], bytes(2)), "s": ("F32", [], bytes(4))}))
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model.safetensors"}}')
    require_loadable(tmp_path)


# --- headers that lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "longer than the file"),
        (b"\x00" * 7, "longer than the file"),
        (b"\xff" * 100, "longer than the file"),
        ((2**40).to_bytes(8, "little") + b"{}", "longer than the file"),
        (b"\x80\x04\x95" + bytes(50), "longer than the file"),
        (raw(b"{"), "not JSON"),
        (raw(b"[]"), "not JSON"),
        (raw(b" {}", b""), "not JSON"),
        (raw(b"[" * 100_000), "not JSON"),
        (raw(b'{"w": {}, "w": {}}'), "not JSON"),
        (raw({"w": 1}), "a wrong entry for 'w'"),
        (raw({"__metadata__": {"a": 1}}, b""), "metadata"),
        (header(dtype="OBJECT"), "a wrong entry for 'w'"),
        (header(dtype=["F32"]), "a wrong entry for 'w'"),
        (header(shape="22"), "a wrong entry for 'w'"),
        (header(shape=[-2]), "a wrong entry for 'w'"),
        (header(shape=[2.0]), "a wrong entry for 'w'"),
        (header(shape=[True, 2]), "a wrong entry for 'w'"),
        (header(data_offsets=[0]), "a wrong entry for 'w'"),
        (header(data_offsets=[0, 2**64]), "a wrong entry for 'w'"),
        (header(data_offsets=[-8, 0]), "a wrong entry for 'w'"),
        (header(shape=[3]), "has a wrong size"),
        (header(shape=[2**31, 2**31]), "has a wrong size"),
        (header(data_offsets=[8, 0]), "has a wrong size"),
        (header(dtype="F64"), "has a wrong size"),
        (header(data_offsets=[8, 16]), "overlap or have gaps"),
        (raw({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}), "overlap or have gaps"),
        (header(shape=[1], data_offsets=[0, 4]), "8 bytes of weights, and its header says 4"),
        (safetensors({"w": ("F32", [2], bytes(8))})[:-1], "7 bytes of weights, and its header says 8"),
    ],
)
def test_promise_17_lying_headers_are_refused(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=why):
        require_loadable(tmp_path)


@given(st.binary(max_size=200), st.integers(0, 199))
def test_promise_17_no_header_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    directory = tmp_path_factory.mktemp("noise")
    sound = safetensors({"a": ("F32", [2], bytes(8)), "b": ("U8", [3], bytes(3))})
    (directory / "noise.safetensors").write_bytes(noise)
    (directory / "mixed.safetensors").write_bytes(sound[:at] + noise + sound[at:])
    list(find_problems(directory))


# --- the zoo ---------------------------------------------------------------------------------------------------------


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o20600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices need root")


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path)[-100:] if len(str(path)) < 100 else os.path.relpath(path))


ZOO: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "pickle": ("pytorch_model.bin", lambda path: path.write_bytes(b"\x80\x04"), "pickle"),
    "pickle that says model.bin": ("model.bin", lambda path: path.write_bytes(b"\x80\x04" + bytes(50)), "pickle"),
    "zip that says model.bin": ("model.bin", lambda path: path.write_bytes(b"PK\x03\x04" + bytes(50)), "pickle"),
    "checkpoint": ("a/model.CKPT", lambda path: path.write_bytes(b""), "pickle"),
    "python": ("modeling_evil.py", lambda path: path.write_text("x"), "code"),
    "library": ("lib.so", lambda path: path.write_bytes(b"\x7fELF"), "code"),
    "auto_map": ("config.json", lambda path: path.write_text('{"auto_map": {"AutoModel": "e.E"}}'), "auto_map"),
    "deep auto_map": ("tokenizer_config.json", lambda path: path.write_text('{"a": [{"auto_map": 1}]}'), "auto_map"),
    "pipeline of its own": (
        "model_index.json", lambda path: path.write_text('{"_class_name": ["evil", "Evil"]}'), "pipeline class of the repository",
    ),
    "part from a module": ("model_index.json", lambda path: path.write_text('{"unet": ["os", "system"]}'), "'os'"),
    "part from a pipeline's module": (
        "model_index.json", lambda path: path.write_text('{"unet": ["ltx2", "pipeline_ltx2"]}'), "'ltx2'",
    ),
    "not JSON": ("config.json", lambda path: path.write_text("{"), "not JSON"),
    "deep JSON": ("config.json", lambda path: path.write_text("[" * 200_000), "not JSON"),
    "shard elsewhere": (
        "m.safetensors.index.json", lambda path: path.write_text('{"weight_map": {"w": "../x.safetensors"}}'), "outside of the directory",
    ),
    "absolute shard": (
        "m.safetensors.index.json", lambda path: path.write_text('{"weight_map": {"w": "/etc/x.safetensors"}}'), "outside of the directory",
    ),
    "pickled shard": (
        "m.bin.index.json", lambda path: path.write_text('{"weight_map": {"w": "shard.bin"}}'), "pickle",
    ),
    "missing shard": (
        "m.safetensors.index.json", lambda path: path.write_text('{"weight_map": {"w": "x.safetensors"}}'), "missing",
    ),
    "link to a file": ("config.json", lambda path: path.symlink_to("/etc/hostname"), "a link"),
    "link to a directory": ("unet", lambda path: path.symlink_to("/etc"), "a link"),
    "dangling link": ("vocab.txt", lambda path: path.symlink_to("nowhere"), "a link"),
    "pipe": ("model.safetensors", os.mkfifo, "not a regular file"),
    "socket": ("config.json", bind, "not a regular file"),
    "device": ("config.json", device, "not a regular file"),
    "backslash": ("..\\config.json", lambda path: path.write_text("{}"), "may lead out of the directory"),
    "line break": ("a\nb.txt", lambda path: path.write_text("{}"), "may lead out of the directory"),
    "GGUF that is none": ("model.gguf", lambda path: path.write_bytes(b"GGML" + bytes(9)), "not a GGUF"),
}  # fmt: skip


@pytest.mark.parametrize("animal", ZOO)
async def test_promise_17_a_malicious_directory_is_refused_before_it_is_loaded(
    animal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, make, why = ZOO[animal]
    directory = tmp_path / "model"
    (directory / name).parent.mkdir(parents=True)
    (directory / "model2.safetensors").write_bytes(weights(100))
    monkeypatch.chdir((directory / name).parent)
    make(directory / name)
    with pytest.raises(ModelLoadFailed, match=why) as refused:
        await fetch("m", [LocalSource(path=directory)], tmp_path / "cache", ignore, backend="vllm")
    assert str(tmp_path) not in refused.value.message
    assert not verify(directory).is_valid


def test_promise_17_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "MAX_FILES", 10)
    for number in range(12):
        (tmp_path / f"{number}.txt").touch()
    assert list(find_problems(tmp_path)) == ["more than 10 files"]


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", ".", "./a", "a\\b", "c:evil", "a\0b", "x" * 600, "a/" + "ä" * 200],
)
def test_promise_17_names_that_lead_elsewhere(name: str) -> None:
    assert is_unsafe_name(name)
    assert not is_unsafe_name("unet/diffusion_pytorch_model-00001-of-00002.safetensors")


def test_a_verification_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_bytes(b"x")
    manifest = {"source": "hf://a/b", "files": [{"name": "model.txt", "size_bytes": 1, "sha256": "0" * 64}]}
    (tmp_path / "muybridge.json").write_text(json.dumps(manifest))
    with pytest.raises(Interrupted):
        verify(tmp_path, verification.stoppable(lambda: True))
    assert verify(tmp_path).problems == ("model.txt: its checksum differs",)
