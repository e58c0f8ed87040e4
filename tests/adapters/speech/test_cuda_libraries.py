"""cuBLAS 12 for CTranslate2 beside CUDA 13, and what a load checks, without a GPU."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.servers import ROOT

from adapters.catalog.catalog import load_catalog
from adapters.errors import ModelLoadFailed
from adapters.memory.workloads import ctranslate2_whisper
from adapters.speech import whisper
from adapters.speech.whisper import WhisperSpeech

LOADS = """
import ctypes, sys
def found():
    try:
        ctypes.CDLL("libcublas.so.12")
        return True
    except OSError:
        return False
before = found()
from adapters.speech.cuda_libraries import preload_cublas
preload_cublas()
print(before, found())
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler to make a library")
def test_ctranslate2_finds_the_library_of_the_package(tmp_path: Path) -> None:
    """With a package of the same layout: dlopen finds a library that was loaded by path, by its soname."""
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    (source := tmp_path / "empty.c").write_text("int marker(void) { return 12; }\n")
    for name in ("libcublasLt.so.12", "libcublas.so.12"):
        built = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run(built, check=True)
    about = tmp_path / "nvidia_cublas_cu12-12.8.4.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: nvidia-cublas-cu12\nVersion: 12.8.4.1\n")
    names = ("libcublasLt.so.12", "libcublas.so.12")
    (about / "RECORD").write_text("".join(f"nvidia/cublas/lib/{name},,\n" for name in names))
    code = f"import sys; sys.path.append({str(tmp_path)!r})\n{LOADS}"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert shown.stdout.split() == ["False", "True"]


class Network:
    """What is loaded instead of Whisper; notes how."""

    def __init__(self, path: str, **options: Any) -> None:
        self.options = options
        self.silence: list[float] = []
        self.fails = False
        made.append(self)

    def encode_silence(self, seconds: float) -> None:
        self.silence.append(seconds)
        if fails:
            raise RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")


made: list[Network] = []
fails: list[bool] = []


@pytest.mark.parametrize(
    ("gpus", "options", "device", "compute_type"),
    [
        (1, {}, "cuda", "float16"),
        (1, {"compute_type": "int8_float16"}, "cuda", "int8_float16"),
        (1, {"device": "cpu"}, "cpu", "auto"),
        (0, {}, "cpu", "auto"),
    ],
)
def test_on_a_gpu_auto_is_what_the_estimate_assumes(
    gpus: int, options: dict[str, Any], device: str, compute_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.speech import batched_whisper

    made.clear()
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: gpus)
    monkeypatch.setattr(batched_whisper, "Whisper", Network)
    whisper._load("", WhisperSpeech.Options.model_validate(options))
    (network,) = made
    assert (network.options["device"], network.options["compute_type"]) == (device, compute_type)
    assert network.silence, "one window is encoded at load"
    if compute_type == "float16":
        described = ctranslate2_whisper(load_catalog().models["whisper-large-v3"], "cuda")
        assert (described["quantization"], described["dtype"]) == ("float16", "float16")


def test_a_library_that_is_missing_fails_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    from adapters.speech import batched_whisper

    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(batched_whisper, "Whisper", Network)
    fails.append(True)
    try:
        with pytest.raises(ModelLoadFailed, match="its device cannot run it"):
            whisper._load("", WhisperSpeech.Options())
    finally:
        fails.clear()
