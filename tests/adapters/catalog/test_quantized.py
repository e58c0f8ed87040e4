"""Checkpoints in quantizations that are not served: refused before a download, with the reason."""

import json
from pathlib import Path

import pytest
from support.hub import hub_of, weights

from adapters.catalog.catalog import load_catalog
from adapters.catalog.model_config import with_options
from adapters.catalog.sources import HubSource, LocalSource
from adapters.catalog.yaml_lines import ConfigurationError
from adapters.errors import ModelLoadFailed
from adapters.loader.fetch import fetch
from adapters.registry import implementation

GGUF = b"GGUF\x03\0\0\0" + bytes(32)


@pytest.mark.parametrize("method", ["bitsandbytes", "gguf"])
def test_an_option_is_refused_with_the_reason(method: str) -> None:
    ((name, problem),) = implementation("vllm").Options.problems({"quantization": method})
    assert name == "quantization"
    assert f"{method} is not served" in problem
    assert "use" in problem or "name it" in problem
    assert implementation("vllm").Options.problems({"quantization": "fp8"}) == []


async def test_a_checkpoint_of_bitsandbytes_is_refused_before_its_weights_are_fetched(tmp_path: Path) -> None:
    config = {"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    with hub_of({"config.json": json.dumps(config).encode(), "model.safetensors": weights(100_000)}) as hub:
        with pytest.raises(ModelLoadFailed, match=r"quantized with bitsandbytes.*AWQ, GPTQ or FP8"):
            await fetch("m", [HubSource(repo="org/tiny")], tmp_path, print, backend="vllm", hub_endpoint=hub.url)
        assert hub.asked == ["config.json"]


async def test_a_repository_of_gguf_files_says_how_to_name_one(tmp_path: Path) -> None:
    told = pytest.raises(ModelLoadFailed, match=r"GGUF files alone; name one, as in hf://org/tiny/model-q4\.gguf")
    with hub_of({"config.json": b"{}", "model-q4.gguf": GGUF, "model-q8.gguf": GGUF}) as hub, told:
        await fetch("m", [HubSource(repo="org/tiny")], tmp_path, print, backend="vllm", hub_endpoint=hub.url)


async def test_a_local_gguf_file_says_how_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(GGUF)
    source = LocalSource(path=tmp_path)
    with pytest.raises(ModelLoadFailed, match=r"python -m adapters\.loader\.gguf"):
        await fetch("m", [source], tmp_path / "cache", print, backend="vllm")


def test_a_load_may_choose_device_and_compute_type() -> None:
    models = load_catalog().models
    changed = with_options(models["whisper-large-v3"], device="cuda", compute_type="int8_float16")
    assert changed.options == {"device": "cuda", "compute_type": "int8_float16"}
    assert with_options(models["sdxl"], device="auto", compute_type="auto") == models["sdxl"]
    assert with_options(models["llama-3.1-8b-instruct"], device="auto", compute_type="fp8").options["quantization"]
    for name, given, problem in (
        ("llama-3.1-8b-instruct", {"device": "cpu"}, "device: cannot be set for models of backend vllm"),
        ("kokoro-82m", {"device": "cuda"}, "device: "),
        ("sdxl", {"compute_type": "int3"}, "compute_type: "),
        ("all-minilm-l6-v2", {"compute_type": "int8"}, "compute_type: "),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            with_options(models[name], **{"device": "auto", "compute_type": "auto"} | given)
