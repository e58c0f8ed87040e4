"""Which model architectures the installed vLLM runs, read from its source: importing vLLM takes half a minute."""

import ast
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapters.base import Kind
from adapters.errors import ModelLoadFailed
from adapters.registry import Detected

# INTERNAL vllm==0.32: the names of the tables in `vllm/model_executor/models/registry.py`.
TABLES: Mapping[str, Kind] = {
    "_EMBEDDING_MODELS": "embedding",
    "_MULTIMODAL_MODELS": "vision",
    "_TRANSFORMERS_SUPPORTED_MODELS": "text",
    "_TEXT_GENERATION_MODELS": "text",
}
"""The tables of generating and embedding models; the last that has an architecture counts."""
OTHERS: Mapping[str, str] = {
    "WhisperForConditionalGeneration": "Whisper is served from CTranslate2's format: use a conversion such as "
    "Systran/faster-whisper-large-v3",
    "T5EncoderModel": "it is a text encoder, a part of image and video models",
    "CLIPModel": "it compares images with texts and generates nothing",
}
"""Architectures that are served in another form, or are no model of their own."""
PARSERS: Mapping[str, Mapping[str, str]] = {
    "qwen2": {"tool_call_parser": "hermes"},
    "qwen3": {"tool_call_parser": "hermes", "reasoning_parser": "qwen3"},
    "qwen3_moe": {"tool_call_parser": "hermes", "reasoning_parser": "qwen3"},
    "qwen3_vl": {"tool_call_parser": "hermes"},
    "qwen3_5": {"tool_call_parser": "qwen3_coder", "reasoning_parser": "qwen3"},
    "qwen3_5_moe": {"tool_call_parser": "qwen3_coder", "reasoning_parser": "qwen3"},
    "gemma4": {"tool_call_parser": "gemma4", "reasoning_parser": "gemma4"},
    "mistral": {"tool_call_parser": "mistral"},
}
"""Parsers of tool calls and of reasoning, by `model_type`, as vLLM's documentation names them."""


def detect(configs: Mapping[str, Any]) -> Detected:
    """Kind and options of a checkpoint for vLLM. See `Backend.detect`."""
    config = configs.get("config.json")
    if config is None:
        raise ModelLoadFailed("it has no config.json")
    found = config.get("architectures")
    name = found[0] if isinstance(found, list) and found else None
    if not isinstance(name, str):
        raise ModelLoadFailed("its config.json names no architecture")
    if why := OTHERS.get(name):
        raise ModelLoadFailed(why)
    kind = architectures().get(name)
    if kind is None:
        raise ModelLoadFailed(f"the installed vLLM does not know its architecture {name[:80]!r}")
    if kind == "embedding":
        raise ModelLoadFailed(
            f"{name} computes embeddings, and without modules.json its pooling is unknown: write an entry with the "
            "backend transformers-embedding and the option `pooling`"
        )
    model_type = config.get("model_type")
    options: dict[str, Any] = dict(PARSERS.get(model_type, {})) if isinstance(model_type, str) else {}
    scaling = config.get("rope_scaling")
    if name == "LlamaForCausalLM" and isinstance(scaling, dict) and scaling.get("rope_type") == "llama3":
        options["tool_call_parser"] = "llama3_json"
    return Detected(kind, options)


@cache
def architectures() -> Mapping[str, Kind]:
    """Architectures that the installed vLLM runs, with the kind of model that each is; empty without vLLM."""
    package = find_spec("vllm")
    if package is None or not package.submodule_search_locations:
        return {}
    path = Path(package.submodule_search_locations[0]) / "model_executor" / "models" / "registry.py"
    tables: dict[str, ast.Dict] = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict):
            tables[node.targets[0].id] = node.value
    return {
        key.value: kind
        for table, kind in TABLES.items()
        for key in tables[table].keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
