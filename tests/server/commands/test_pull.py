"""`muybridge models pull ORG/NAME`: from a hub on this machine to a model that is served."""

import asyncio
import base64
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.hub import COMMIT, CTRANSLATE2, Hub, weights
from support.servers import ROOT, muybridge, serving

from adapters.catalog.sources import HubSource
from adapters.errors import ModelLoadFailed
from adapters.loader.repository import inspect
from server.commands.config import check_file

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
    "max_position_embeddings": 64, "torch_dtype": "bfloat16", "rope_scaling": {"rope_type": "llama3"},
}  # fmt: skip
BERT = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 32, "vocab_size": 10}
WHISPER = {"alignment_heads": [[1, 1]], "lang_ids": [50259], "suppress_ids": [1]}
MODULES = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
SDXL = {"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}


def repository(**files: Any) -> dict[str, bytes]:
    """Files by name; what is not bytes is written as JSON. `__` stands for a slash, `_dot_` for a dot."""
    return {
        name.replace("__", "/").replace("_dot_", "."): one if isinstance(one, bytes) else json.dumps(one).encode()
        for name, one in files.items()
    }


def text_model(config: Any = LLAMA, **more: Any) -> dict[str, bytes]:
    return repository(config_dot_json=config, model_dot_safetensors=weights(2000), tokenizer_dot_json={}, **more)


def pull(hub: Hub, home: Path, *arguments: str, **env: str) -> Any:
    settings = {
        "MUYBRIDGE_DATA_DIR": str(home / "data"), "MUYBRIDGE_CACHE_DIR": str(home / "cache"), "HF_ENDPOINT": hub.url,
        "COLUMNS": "120",
    }  # fmt: skip
    return muybridge("models", "pull", *arguments, **settings, **env)


def own(home: Path) -> dict[str, Any]:
    return yaml.safe_load((home / "data" / "models.yaml").read_text())


def refused(files: Mapping[str, bytes]) -> str:
    """The reason with which a repository is refused."""
    with Hub(files) as hub, pytest.raises(ModelLoadFailed) as error:
        asyncio.run(inspect(HubSource(repo="org/tiny"), endpoint=hub.url))
    assert error.value.message.startswith("hf://org/tiny cannot be served: ")
    assert error.value.message.isprintable()
    return error.value.message


def test_a_repository_is_pulled_listed_and_served(tmp_path: Path) -> None:
    with Hub(text_model()) as hub:
        hub.license = "apache-2.0"
        shown = pull(hub, tmp_path, "org/tiny", "--dry-run", "--json")
        assert shown.returncode == 0, shown.stderr
        (told,) = json.loads(shown.stdout)["data"]
        assert (told["kind"], told["backend"], told["license"], told["files"]) == ("text", "vllm", "apache-2.0", 3)
        assert told["download_bytes"] == sum(map(len, text_model().values()))
        assert told["estimated_memory_bytes"] > 2**30, "the cache alone is a gibibyte"
        assert not (tmp_path / "data").exists()
        assert hub.asked == ["config.json"], "no weights for a dry run"
        done = pull(hub, tmp_path, "org/tiny")
    assert done.returncode == 0, done.stderr
    assert "3 files, 0.00 GB to download, about 2." in done.stdout or "about 1." in done.stdout
    entry = own(tmp_path)["models"]["tiny"]
    assert entry["sources"] == [f"hf://org/tiny@{COMMIT}"]
    assert entry["options"] == {"tool_call_parser": "llama3_json"}
    assert entry["weights_bytes"] == len(weights(2000))
    assert own(tmp_path)["profiles"] == {"mine": {"models": ["tiny"]}}
    assert check_file(tmp_path / "data" / "models.yaml")["errors"] == []
    home = {"MUYBRIDGE_DATA_DIR": str(tmp_path / "data"), "MUYBRIDGE_CACHE_DIR": str(tmp_path / "cache")}
    listed = json.loads(muybridge("models", "list", "--json", "--profile", "mine", **home).stdout)["data"]
    (row,) = [one for one in listed if one["id"] == "tiny"]
    assert (row["served"], row["cached"], row["commit"]) == (True, True, COMMIT)


def test_a_second_pull_downloads_nothing_and_writes_nothing(tmp_path: Path) -> None:
    with Hub(text_model()) as hub:
        assert pull(hub, tmp_path, "org/tiny").returncode == 0
        written, hub.asked = (tmp_path / "data" / "models.yaml").read_text(), []
        assert pull(hub, tmp_path, "org/tiny").returncode == 0
        assert hub.asked == []
    assert (tmp_path / "data" / "models.yaml").read_text() == written


def test_an_interrupted_pull_goes_on_at_its_commit(tmp_path: Path) -> None:
    files = text_model()
    with Hub(files) as hub:
        hub.faults.truncate_at = 0
        assert pull(hub, tmp_path, "org/tiny").returncode == 1
        hub.faults.truncate_at = None
        hub.push({**files, "model.safetensors": weights(3000)}, "f" * 40)
        assert pull(hub, tmp_path, "org/tiny").returncode == 0
    assert own(tmp_path)["models"]["tiny"]["sources"] == [f"hf://org/tiny@{COMMIT}"]


def test_name_and_revision(tmp_path: Path) -> None:
    with Hub(text_model()) as hub:
        hub.push(text_model(), "e" * 40)
        assert pull(hub, tmp_path, "org/tiny", "--name", "mine", "--revision", COMMIT).returncode == 0
        assert own(tmp_path)["models"]["mine"]["sources"] == [f"hf://org/tiny@{COMMIT}"]
        again = pull(hub, tmp_path, "org/tiny", "--name", "mine", "--revision", "e" * 40)
        assert again.returncode == 2
        assert "there is another model 'mine'" in again.stderr
        both = pull(hub, tmp_path, "org/tiny", "org/other", "--name", "x")
        assert both.returncode == 2
        assert "--name and --revision are for one repository" in both.stderr


def test_the_profile_of_the_operators_own_file_is_extended(tmp_path: Path) -> None:
    catalog = tmp_path / "c.yaml"
    catalog.write_text("# ours\nprofiles:\n  story:\n    models: [fake-text]  # for now\n")
    with Hub(text_model()) as hub:
        done = pull(hub, tmp_path, "org/tiny", "--catalog", str(catalog), "--profile", "story")
    assert done.returncode == 0, done.stderr
    text = catalog.read_text()
    assert text.startswith("# ours\nprofiles:\n  story:\n    models: [fake-text, tiny] # for now\n")
    assert check_file(catalog)["errors"] == []


@pytest.mark.parametrize(
    ("files", "kind", "backend"),
    [
        pytest.param(text_model({**LLAMA, "architectures": ["Qwen3VLForConditionalGeneration"]}), "vision", "vllm",
                     id="vision"),
        pytest.param(repository(config_dot_json=WHISPER, model_dot_bin=CTRANSLATE2 + b"w", vocabulary_dot_json=[],
                                tokenizer_dot_json={}), "speech", "faster-whisper", id="whisper"),
        pytest.param(repository(config_dot_json=BERT, modules_dot_json=MODULES, model_dot_safetensors=weights(100)),
                     "embedding", "transformers-embedding", id="embedding"),
        pytest.param(repository(model_index_dot_json=SDXL, unet__config_dot_json={"_class_name": "UNet2DConditionModel"},
                                unet__d_dot_safetensors=weights(100)), "image", "diffusers-image", id="image"),
        pytest.param(repository(model_index_dot_json={"_class_name": "LTXPipeline", "vae": ["diffusers", "X"]},
                                vae__d_dot_safetensors=weights(100)), "video", "diffusers-video", id="video"),
    ],
)  # fmt: skip
def test_kind_and_backend_are_those_of_the_config_files(
    files: dict[str, bytes], kind: str, backend: str, tmp_path: Path
) -> None:
    with Hub(files) as hub:
        done = pull(hub, tmp_path, "org/tiny")
    assert done.returncode == 0, done.stderr
    entry = own(tmp_path)["models"]["tiny"]
    assert (entry["kind"], entry["backend"]) == (kind, backend)


GGUF = b"GGUF\x03\0\0\0" + bytes(32)
CUSTOM = {**LLAMA, "auto_map": {"AutoModel": "modeling.Evil"}}
UNKNOWN = {"architectures": ["MambaUnheardOfForCausalLM"], "model_type": "mamba9"}


@pytest.mark.parametrize(
    ("files", "why"),
    [
        pytest.param(text_model(b"{'single': quotes}"), "config.json is not JSON", id="no JSON"),
        pytest.param(text_model(b"[" * 100_000), "config.json is not JSON", id="deep"),
        pytest.param(text_model([1, 2]), "config.json is not a JSON object", id="a list"),
        pytest.param(text_model({"architectures": 7}), "names no architecture", id="a number"),
        pytest.param(text_model({"architectures": [["x"]]}), "names no architecture", id="nested"),
        pytest.param(text_model({**LLAMA, "x": "y" * 5_000_000}), "larger than 4,194,304 bytes", id="huge"),
        pytest.param(text_model(UNKNOWN), "does not know its architecture 'MambaUnheardOfForCausalLM'", id="unknown"),
        pytest.param(text_model(CUSTOM), "it asks for code of the repository", id="code"),
        pytest.param(text_model(BERT), "without modules.json its pooling is unknown", id="pooling"),
        pytest.param(text_model({**LLAMA, "architectures": ["WhisperForConditionalGeneration"]}),
                     "use a conversion such as Systran/faster-whisper", id="whisper"),
        pytest.param(text_model({**LLAMA, "quantization_config": {"quant_method": "bitsandbytes"}}),
                     "quantized with bitsandbytes", id="bitsandbytes"),
        pytest.param(repository(config_dot_json=LLAMA, pytorch_model_dot_bin=b"\x80\x04"), "its weights are pickles",
                     id="pickles"),
        pytest.param({"model-q4.gguf": GGUF, "README.md": b"x"}, "name one, as in org/tiny/model-q4.gguf", id="gguf"),
        pytest.param({"README.md": b"x"}, "no config.json and no model_index.json", id="nothing"),
        pytest.param({"adapter_config.json": b"{}", "adapter_model.safetensors": weights(10)}, "is an adapter (LoRA)",
                     id="lora"),
        pytest.param({**text_model(), "..\\evil.json": b"{}"}, "lead out of the directory", id="escape"),
        pytest.param({**text_model(), "a\x1b[2J.json": b"{}"}, "lead out of the directory", id="escape code"),
        pytest.param({"\x1b[31m.gguf": GGUF}, "GGUF files alone", id="escape code in a reason"),
        pytest.param(repository(model_index_dot_json={"_class_name": ["evil", "Pipeline"]}), "pipeline class",
                     id="pipeline of the repository"),
        pytest.param(repository(model_index_dot_json={"_class_name": "AudioLDM2Pipeline"}), "none of the video",
                     id="audio"),
        pytest.param(repository(model_index_dot_json={"_class_name": "StableDiffusionXLPipeline", "unet": ["os", "X"]}),
                     "'os', which is not allowed", id="library"),
        pytest.param(repository(config_dot_json={"bos_token": "<s>"}, model_dot_bin=CTRANSLATE2,
                                vocabulary_dot_json=[]), "not that of a Whisper model", id="another CTranslate2 model"),
        pytest.param(repository(config_dot_json={**BERT, "model_type": 5}, modules_dot_json=MODULES,
                                model_dot_safetensors=weights(9)), "does not know its model type", id="model type"),
        pytest.param(repository(config_dot_json=BERT, modules_dot_json={"a": 1}, model_dot_safetensors=weights(9)),
                     "modules.json is not a JSON list", id="modules"),
    ],
)  # fmt: skip
def test_promise_16_what_cannot_be_served_is_refused_with_the_reason(files: dict[str, bytes], why: str) -> None:
    assert why in refused(files)


def test_what_is_refused_leaves_nothing(tmp_path: Path) -> None:
    with Hub(text_model(UNKNOWN)) as hub:
        done = pull(hub, tmp_path, "org/tiny")
        assert hub.asked == ["config.json"]
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["../..", "a/b/../c.gguf", "org/na--me", "org/.x", "https://x/y", "hf://a", "org/a@b@c",
                                  "o" * 99 + "/x", "org/\x1b[2J", "org/né"])  # fmt: skip
def test_a_repository_of_odd_form_is_a_wrong_argument(name: str, tmp_path: Path) -> None:
    with Hub() as hub:
        done = pull(hub, tmp_path, name)
        assert done.returncode == 2, done.stderr
        assert hub.asked == []
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_weights_that_lie_are_refused_after_the_download(tmp_path: Path) -> None:
    lying = struct.pack("<Q", 10**9) + b"{}"
    with Hub({**text_model(), "model.safetensors": lying}) as hub:
        done = pull(hub, tmp_path, "org/tiny")
    assert done.returncode == 1
    assert "its header is longer than the file" in done.stderr
    assert not (tmp_path / "data" / "models.yaml").exists()


def test_a_half_in_float16_is_told_with_its_own_size(tmp_path: Path) -> None:
    both = {"unet/d.safetensors": weights(1000), "unet/d.fp16.safetensors": weights(500)}
    files = repository(model_index_dot_json=SDXL, unet__config_dot_json={"_class_name": "UNet2DConditionModel"}) | both
    with Hub(files) as hub:
        done = pull(hub, tmp_path, "org/tiny")
    assert done.returncode == 0, done.stderr
    assert own(tmp_path)["models"]["tiny"]["weights_bytes"] == len(weights(1000))  # no GPU here: float32


def test_an_unknown_hub_and_a_gated_repository_say_what_to_do(tmp_path: Path) -> None:
    with Hub() as hub:
        assert "no such repository" in pull(hub, tmp_path, "org/other").stderr
        hub.gated = True
        assert "its licence must be accepted at the hub first" in pull(hub, tmp_path, "org/tiny").stderr


def test_a_gguf_file_is_named_and_unquantized_weights_are_unknown(tmp_path: Path) -> None:
    with Hub({"model-q4.gguf": GGUF, "model-q8.gguf": GGUF}) as hub:
        shown = json.loads(pull(hub, tmp_path, "org/tiny/model-q4.gguf", "--dry-run", "--json").stdout)["data"][0]
    assert (shown["id"], shown["kind"], shown["files"]) == ("model-q4", "text", 1)


@pytest.mark.engine
def test_a_pulled_pipeline_is_served_by_a_configuration_file(tmp_path: Path) -> None:
    """The whole way: a repository on a hub, its download, one file of configuration, and an image."""
    folder = ROOT / "starter" / "checkpoints" / "image"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with Hub(files) as hub:
        done = pull(hub, tmp_path, "org/tiny", "--name", "pictures")
        assert done.returncode == 0, done.stderr
    config = tmp_path / "story.yaml"
    config.write_text("profile: story\nprofiles:\n  story: {models: [pictures], aliases: {gpt-image-2: pictures}}\n")
    with serving(
        tmp_path, profile="story", MUYBRIDGE_CONFIG=str(config), MUYBRIDGE_CACHE_DIR=str(tmp_path / "cache")
    ) as server:
        reply = server.sdk(strict=False).images.generate(
            model="gpt-image-2", prompt="a red fox", extra_body={"width": 128, "height": 128, "num_inference_steps": 2}
        )
        assert len(base64.b64decode(reply.data[0].b64_json)) > 1000  # pyright: ignore
