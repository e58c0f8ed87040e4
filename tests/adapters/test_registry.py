"""The registry: every fact about a backend stands on its row, and no other module compares backend names."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from support.servers import ROOT

from adapters.base import Kind
from adapters.catalog.model_config import ModelConfig
from adapters.registry import BACKENDS, default_backend, implementation, workload

ALLOWED = {
    ("server/commands/doctor.py", "vllm"): "a distribution whose version is shown",
    ("server/commands/doctor.py", "faster-whisper"): "a distribution whose version is shown",
    ("adapters/engines/vllm.py", "vllm"): "vLLM's logger",
    ("adapters/engines/vllm_architectures.py", "vllm"): "vLLM's package",
    ("adapters/process/compile_caches.py", "vllm"): "a folder's name",
}
"""String constants that equal a backend's name and mean something else: (module, constant) to the meaning."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in ("adapters", "compat", "server"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name != "adapters/registry.py":
                yield name, ast.parse(path.read_text())


def own_module(backend: str) -> str:
    return BACKENDS[backend].target.partition(":")[0].replace(".", "/") + ".py"


def names_in(tree: ast.Module) -> Iterator[str]:
    return (one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str))


def branches_on_backend(tree: ast.Module) -> Iterator[int]:
    """Lines that compare something called `backend` with a string, or ask how it starts or ends."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            texts = [one for side in sides for one in ast.walk(side) if isinstance(one, ast.Constant) and one.value]
            if any(isinstance(one.value, str) for one in texts) and any(is_backend(side) for side in sides):
                yield node.lineno
        if isinstance(node, ast.Attribute) and node.attr in ("startswith", "endswith") and is_backend(node.value):
            yield node.lineno


def is_backend(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "backend") or (
        isinstance(node, ast.Attribute) and node.attr == "backend"
    )


@pytest.mark.slow
def test_no_other_module_names_or_compares_a_backend() -> None:
    found: list[str] = []
    for name, tree in modules():
        found += [f"{name}:{line}" for line in branches_on_backend(tree)]
        for constant in names_in(tree):
            if constant in BACKENDS and name != own_module(constant) and (name, constant) not in ALLOWED:
                found.append(f"{name}: {constant!r}")
    assert found == []


@pytest.mark.parametrize(
    "code", ['if entry.backend == "vllm": pass', 'x = backend.startswith("fake")', 'y = backend in ("a", "b")']
)
def test_the_check_finds_comparisons(code: str) -> None:
    assert list(branches_on_backend(ast.parse(code))) == [1]


@pytest.mark.slow
def test_exceptions_are_still_needed() -> None:
    there = {(name, constant) for name, tree in modules() for constant in names_in(tree)}
    assert ALLOWED.keys() <= there


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_is_true(backend: str) -> None:
    row, adapter = BACKENDS[backend], implementation(backend)
    assert adapter.kind in row.kinds
    fields = {key.partition(":")[0] for key in row.config} | set(row.sizes)
    assert fields <= ModelConfig.model_fields.keys()
    assert set(row.config.values()) <= adapter.Options.model_fields.keys()
    assert not row.memory or callable(workload(backend))


@pytest.mark.parametrize("kind", get_args(Kind))
def test_models_outside_the_catalog_have_a_real_backend(kind: Kind) -> None:
    assert not default_backend(kind).startswith("fake")


def test_targets_are_files_of_this_repository() -> None:
    for backend in BACKENDS:
        assert Path(ROOT, own_module(backend)).is_file()
