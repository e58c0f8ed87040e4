"""Catalogs, located errors, models' configurations and their validation."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.base import Kind
from adapters.catalog.catalog import ConfigurationError, load_catalog
from adapters.catalog.model_config import (
    ModelConfig,
    default_config,
    find_entry,
    load_config,
    save_config,
)
from adapters.catalog.model_config import to_entry as entry_of
from adapters.catalog.yaml_lines import read_located
from adapters.hardware import Device, Hardware
from adapters.memory.validation import ConfigurationValidation, validate_config
from adapters.registry import implementation

CPU = Device("cpu", "EPYC", 32 * 10**9, 30 * 10**9)
RTX_3060 = Device("cuda", "RTX 3060", 12 * 2**30, 11 * 2**30, 0)
RTX_4090 = Device("cuda", "RTX 4090", 24 * 2**30, 23 * 2**30, 0)
A100 = Device("cuda", "A100", 80 * 2**30, 79 * 2**30, 0)


def validated(device: Device = A100, /, budget: int | None = None, **fields: Any) -> ConfigurationValidation:
    machine = Hardware((device, CPU) if device is not CPU else (CPU,), 8, CPU.total_bytes)
    budgets = None if budget is None else {0: budget, None: CPU.free_bytes}
    return validate_config(ModelConfig.model_validate(fields), load_catalog(), machine, budgets)


def refusal(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_catalog(path)
    return str(refused.value).replace(str(path), path.name)


# --- the catalog -----------------------------------------------------------------------------------------------------


def test_the_catalog_serves_what_the_seed_recommends() -> None:
    catalog = load_catalog()
    repos = {str(source) for entry in catalog.models.values() for source in entry.sources}
    for repo in (
        "Systran/faster-whisper-large-v3",
        "Qwen/Qwen2.5-14B-Instruct",
        "meta-llama/Llama-3.1-8B-Instruct",
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        "microsoft/Phi-3.5-vision-instruct",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "Lightricks/LTX-Video-0.9.5",
    ):
        assert f"hf://{repo}" in repos
    assert {"starter", "small", "studio", "fake"} <= catalog.profiles.keys()
    for name, entry in catalog.models.items():
        assert name == name.lower()
        assert entry.license or name.startswith("fake-")
        assert implementation(entry.backend).Options.problems(entry.options) == []


def test_the_small_profile_fits_a_12_gb_card_one_at_a_time() -> None:
    from adapters.memory.estimate import estimate_entry

    catalog = load_catalog()
    for name in catalog.profile("small").models:
        assert estimate_entry(catalog.models[name], device="cuda") < RTX_3060.total_bytes


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "models:\n  a: {kind: text, backend: x}\n  b:\n    kind: text\n    backend: vllm\n    pin: perhaps\n"
    lines = refusal(tmp_path / "c.yaml", text).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["c.yaml:2", "c.yaml:6"]
    assert "models.b.pin: " in lines[1]


def test_own_entries_lie_over_the_built_in_ones(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("models:\n  sdxl: {kind: image, backend: diffusers-image, sources: [here], pin: true}\n")
    entry = load_catalog(own).models["sdxl"]
    assert entry.pin
    assert str(entry.sources[0]) == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- models\n", "c.yaml: expected the sections models and profiles"),
        ("models: [a]\n", "c.yaml:1: models: expected a mapping of names to mappings"),
        ("model:\n  a: {}\n", "c.yaml:1: model: unknown section; the sections are models and profiles"),
        (
            "models:\n  1: {kind: text, backend: vllm}\n",
            "c.yaml:2: models.1: a name must be a string; put it in quotes",
        ),
        ("models: &a\n  b: *a\n", "c.yaml:1: an alias refers to a value that contains it"),
        ("models:\n  ? [a, b]\n  : {}\n", "c.yaml:2: a key must be a string"),
        ("models:\n  a: {backend: vllm}\n", "c.yaml:2: models.a.kind: it is missing"),
        ("models: !!python/object:os.system {}\n", "c.yaml:1: could not determine a constructor for the tag"),
    ],
)
def test_shapes_that_are_no_catalog(text: str, message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path / "c.yaml", text).startswith(message)


@pytest.mark.slow
def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_catalog(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"models: {\xe9: 1}")
    with pytest.raises(ConfigurationError, match="byte 9 is not UTF-8"):
        load_catalog(tmp_path / "latin.yaml")
    (tmp_path / "deep.yaml").write_text("[" * 20_000)
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        load_catalog(tmp_path / "deep.yaml")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["kind", "backend", "sources", "options", "defaults", "pin", "memory_bytes", "models", "aliases"]
)


@pytest.mark.slow
@settings(deadline=None)  # a busy machine takes its time
@given(
    st.dictionaries(
        st.sampled_from(["models", "profiles", "other"]),
        st.dictionaries(st.text(max_size=5), st.dictionaries(fields, values, max_size=5) | values, max_size=3) | values,
    )
)
def test_promise_30_wrong_files_are_refused_and_never_crash(data: Any) -> None:
    check(yaml.safe_dump(data))


@pytest.mark.slow
@settings(deadline=None)  # a busy machine takes its time
@given(st.text(max_size=200))
def test_promise_30_any_text_is_read_or_refused(text: str) -> None:
    check(text)


def check(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "c.yaml"
        path.write_text(text, encoding="utf-8", errors="replace")
        for load in (load_catalog, load_config):
            try:
                load(path)
            except ConfigurationError as error:
                assert all(line.startswith(str(path)) for line in str(error).splitlines())  # noqa: PT017


# --- one model's configuration ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seeds_name", "kind"),
    [
        ("speech-recognition", "speech"),
        ("text-generation", "text"),
        ("vision-language", "vision"),
        ("image-generation", "image"),
        ("video-generation", "video"),
    ],
)
def test_kinds_have_the_seeds_defaults_and_names(seeds_name: str, kind: Kind) -> None:
    config = default_config(seeds_name)
    assert config == default_config(kind)
    assert config.kind == kind
    assert find_entry(config.model, load_catalog()) is not None


def test_the_seeds_numbers() -> None:
    assert default_config("text").defaults == {"max_tokens": 1024, "temperature": 0.7, "top_p": 0.9}
    assert default_config("vision").defaults["max_tokens"] == 512
    assert default_config("speech").defaults == {"beam_size": 5, "word_timestamps": True, "max_words_per_line": 10}
    image, video = default_config("image"), default_config("video")
    assert (image.width, image.height, image.defaults["num_inference_steps"]) == (1024, 1024, 30)
    assert (video.width, video.height, video.num_frames, video.defaults["fps"]) == (768, 512, 121, 24)
    with pytest.raises(ConfigurationError, match="no kind 'smell'"):
        default_config("smell")


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_is_saved_loads_again(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    config = default_config(kind)
    save_config(config, path)
    assert load_config(path) == config
    if suffix == "json":
        json.loads(path.read_text())
    assert [one.name for one in tmp_path.iterdir()] == [path.name]  # no half of a file beside it


def test_a_file_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").mkdir()
    (tmp_path / "model.yaml" / "x").touch()
    with pytest.raises(ConfigurationError, match=r"model\.yaml"):
        save_config(default_config("text"), tmp_path / "model.yaml")
    assert [one.name for one in tmp_path.iterdir()] == ["model.yaml"]


def test_the_seeds_own_example() -> None:
    found = validated(
        RTX_3060,
        model_type="speech-recognition",
        model_name="Systran/faster-whisper-large-v3",
        device="cuda",
        compute_type="float16",
        batch_size=16,
    )
    assert found.is_valid
    assert found.estimated_memory_bytes == pytest.approx(5e9, rel=0.15)
    assert found.warnings == ("batch_size: has no effect on speech models; leave it out",)


def test_what_does_not_fit_says_so_with_numbers_and_advice() -> None:
    found = validated(RTX_3060, kind="text", model="qwen2.5-14b-instruct")
    assert not found.is_valid
    assert "needs about 32.21 GiB; the memory budget is 9.90 GiB on GPU 0" in found.errors[0]
    assert found.recommendations == {"model": "qwen3-4b-instruct"}
    batch = validated(RTX_4090, kind="image", model="sdxl", batch_size=8)
    assert batch.recommendations["batch_size"] == "1"
    assert validated(RTX_4090, kind="image", model="sdxl", batch_size=1).is_valid


def test_what_fits_but_not_now_is_a_warning() -> None:
    busy = replace(RTX_4090, free_bytes=5 * 2**30)  # a model of the running server is loaded
    found = validated(busy, 21 * 2**30, kind="video", model="ltx-video")
    assert found.is_valid
    assert "needs 20.1 GiB, and only 5.0 GiB of RTX 4090 are free now" in found.warnings[0]
    assert not validated(busy, kind="video", model="ltx-video").is_valid, "without a server, others use that memory"


@pytest.mark.parametrize(
    ("device", "given", "message"),
    [
        (CPU, {"kind": "text", "model": "sdxl"}, "model: 'sdxl' is a model of kind image, not text"),
        (CPU, {"kind": "text", "model": "none"}, "model: 'none' is not in the catalog"),
        (CPU, {"kind": "image", "model": "sdxl", "device": "cuda"}, "device: this process can use no GPU"),
        (A100, {"kind": "vision", "model": "phi-3.5-vision"}, "model: phi-3.5-vision cannot be loaded: its config"),
        (A100, {"kind": "text", "model": "llama-3.1-8b-instruct", "compute_type": "int4"}, "compute_type: "),
        (
            A100,
            {"kind": "text", "model": "llama-3.1-8b-instruct", "device": "cpu"},
            "device: backend vllm runs on the GPU",
        ),
        (A100, {"kind": "image", "model": "sdxl", "num_frames": 9}, "num_frames: cannot be set for image models"),
        (A100, {"kind": "image", "model": "sdxl", "compute_type": "int8"}, "compute_type: "),
    ],
)
def test_what_cannot_be_done_is_an_error(device: Device, given: dict[str, Any], message: str) -> None:
    found = validated(device, **given)
    assert not found.is_valid
    assert found.errors[0].startswith(message)


def test_a_repository_that_nobody_knows_is_a_warning() -> None:
    found = validated(kind="text", model="org/name")
    assert found.is_valid
    assert "not in the catalog" in found.warnings[0]
    assert found.estimated_memory_bytes is None


def test_a_configuration_becomes_an_entry_that_its_backend_takes() -> None:
    for kind in get_args(Kind):
        config = default_config(kind)
        entry = entry_of(config, find_entry(config.model, load_catalog()))
        assert entry.kind == kind
        assert implementation(entry.backend).Options.problems(entry.options) == []


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{\n  "a": {\n    "b": [1,\n      2]}}\n')
    assert read_located(path).lines == {("a",): 2, ("a", "b"): 3, ("a", "b", 0): 3, ("a", "b", 1): 4}


def test_a_configured_model_keeps_the_size_of_its_files() -> None:
    """Without it, an architecture that is known to no formula would be estimated as 0 bytes."""
    entry = load_catalog().models["qwen3.5-9b"]
    made = entry_of(ModelConfig(kind="text", model="qwen3.5-9b", context_length=4096), entry)
    assert made.weights_bytes == entry.weights_bytes
    assert entry.weights_bytes
