"""Every text, vision and embedding model of the catalog is one that its library runs: asked of the library itself."""

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from support.servers import ROOT

from adapters.catalog.catalog import ModelEntry, load_catalog
from adapters.catalog.sources import HubSource, LocalSource
from adapters.engines import vllm_architectures
from adapters.memory.configs import known_configs

pytestmark = pytest.mark.engine

CATALOG = load_catalog().models
ENTRIES = sorted(
    name for name, entry in CATALOG.items() if entry.backend in ("vllm", "vllm-embedding", "transformers-embedding")
)
NOT_INCLUDED = {
    "Qwen/Qwen3.5-9B": {"architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5"},
    "google/gemma-4-E4B-it": {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4"},
}
"""Of repositories whose configs `adapters/memory/known` does not have, since their sizes are in the catalog. Copied from
public quotations of their config.json."""
ASK_VLLM = """
import json, sys
from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
from vllm.model_executor.models.registry import ModelRegistry, _ModelInfo
from vllm.reasoning import ReasoningParserManager
from vllm.tool_parsers import ToolParserManager

found = {}
for name in json.loads(sys.argv[1]):
    if name in ModelRegistry.get_supported_archs():
        about = _ModelInfo.from_model_cls(ModelRegistry.models[name].load_model_cls())
        found[name] = {"text": about.is_text_generation_model, "vision": about.supports_multimodal}
known = {
    "architectures": found,
    "quantization": list(QUANTIZATION_METHODS),
    "tool_call_parser": ToolParserManager.list_registered(),
    "reasoning_parser": ReasoningParserManager.list_registered(),
}
print("ANSWER", json.dumps(known))
"""
ASK_TRANSFORMERS = """
import json, sys, transformers
print("ANSWER", json.dumps([name for name in json.loads(sys.argv[1]) if hasattr(transformers, name)]))
"""


def config(entry: ModelEntry) -> dict[str, Any]:
    """The config.json that the entry's repository publishes."""
    for source in entry.sources:
        if isinstance(source, LocalSource):
            return json.loads((source.path / "config.json").read_text())
        if isinstance(source, HubSource) and source.repo in NOT_INCLUDED:
            return NOT_INCLUDED[source.repo]
    found = known_configs(entry)
    assert found is not None, "adapters/memory/known has no config of it"
    return found["config.json"]


def architecture(name: str) -> str:
    (found,) = config(CATALOG[name])["architectures"]
    return found


def asked(program: str, names: list[str]) -> Any:
    """What a library says of architectures: in a process of its own, since vLLM changes the one that imports it."""
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(names)], capture_output=True, text=True, cwd=ROOT, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("ANSWER ")[2])


@cache
def vllm() -> dict[str, Any]:
    served = {architecture(name) for name in ENTRIES if CATALOG[name].backend == "vllm"}
    return asked(ASK_VLLM, sorted(served))


@cache
def transformers() -> list[str]:
    return asked(ASK_TRANSFORMERS, sorted({architecture(name) for name in ENTRIES}))


@pytest.mark.parametrize("name", [name for name in ENTRIES if CATALOG[name].backend == "vllm"])
def test_vllm_runs_the_model_as_the_kind_that_the_catalog_says(name: str) -> None:
    entry = CATALOG[name]
    found = vllm()["architectures"].get(architecture(name))
    assert found, f"vLLM does not support {architecture(name)}; remove the entry or correct it"
    assert found["text"], "it generates no text"
    assert found["vision"] == (entry.kind == "vision")
    assert bool(entry.unusable) == ("auto_map" in config(entry))
    quantized = config(entry).get("quantization_config", {}).get("quant_method")
    assert quantized is None or quantized in vllm()["quantization"]


@pytest.mark.parametrize("name", [name for name in ENTRIES if CATALOG[name].backend == "vllm"])
def test_vllm_has_the_parsers_that_the_catalog_names(name: str) -> None:
    entry = CATALOG[name]
    wanted = {key: value for key, value in entry.options.items() if key in ("tool_call_parser", "reasoning_parser")}
    own = {"plain_json"}  # adapters/text/tools/plain_json.py
    assert [value for key, value in wanted.items() if value not in (*vllm()[key], *own)] == []
    for key, usual in vllm_architectures.PARSERS.get(config(entry)["model_type"], {}).items():
        assert wanted.get(key, usual) in (usual, *own)


@pytest.mark.parametrize("name", [name for name in ENTRIES if CATALOG[name].kind == "embedding"])
def test_transformers_runs_the_embedding_model(name: str) -> None:
    assert architecture(name) in transformers()
