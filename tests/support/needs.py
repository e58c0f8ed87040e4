"""What tests need, read from their source text: nothing is imported to find out.

A test needs an engine if it runs one of an engine's libraries: imported at the top of its module, or of anything that this
imports; imported within a function that it calls; or through one of `NAMES`. Fixtures count as functions.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARIES = frozenset({
    "accelerate", "ctranslate2", "diffusers", "faster_whisper", "gguf", "llguidance", "onnxruntime", "peft", "safetensors",
    "torch", "transformers", "vllm",
})  # fmt: skip
"""What a light installation does not have."""
NAMES = {
    "engine": frozenset({"model_path", "starter", "starter_server"}),
    "postgres": frozenset({"postgres"}),
}
"""Whatever uses one of these names needs what the mark stands for. `profile="starter"` counts as `starter`."""
PACKAGES = {"support": "tests/support"} | {
    name: name for name in ("adapters", "benchmarks", "compat", "examples", "server", "starter")
}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def imports_engine(path: Path) -> bool:
    """Whether importing this file imports an engine's library."""
    return any(map(_is_engine, _imports(path)))


@cache
def definitions_that_need(mark: str, path: Path) -> frozenset[str]:
    """Functions and classes of a file that need what `mark` stands for, by themselves or through what they use."""
    _in_work.add(path)
    used: dict[str, set[str]] = {}
    needing: set[str] = set()
    imported = _import_map(path)
    for node in _tree(path).body:
        if isinstance(node, Definition):
            used[node.name] = names = set(_names(node))
            lazily = mark == "engine" and any(map(_is_engine, _imported(ast.walk(node))))
            elsewhere = {_resolved(name, imported) for name in names}
            if lazily or names & NAMES[mark] or any(_needs(mark, *found) for found in elsewhere if found):
                needing.add(node.name)
    while more := {name for name, names in used.items() if names & needing} - needing:
        needing |= more
    _in_work.discard(path)
    return frozenset(needing)


_in_work: set[Path] = set()
"""Files that import each other would be read forever."""


def _needs(mark: str, path: Path, name: str) -> bool:
    return path not in _in_work and name in definitions_that_need(mark, path)


def _resolved(name: str, imported: dict[str, str]) -> tuple[Path, str] | None:
    """(file, definition) that `name` or `module.name` means in a file, if it is one of this repository's."""
    first, _, rest = name.partition(".")
    module, _, attribute = f"{imported.get(first, '')}{'.' if rest else ''}{rest}".rpartition(".")
    files = list(_files(module)) if module else []
    return (files[-1], attribute) if files else None


@cache
def _import_map(path: Path) -> dict[str, str]:
    """What each imported name of a file means, dotted."""
    found: dict[str, str] = {}
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _names(definition: Definition) -> Iterator[str]:
    """Every `name` and `name.attribute` that a definition uses, and its parameters (fixtures)."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.keyword) and node.arg == "profile" and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _at_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module that run when it is imported, as far as they can hold imports."""
    for node in body:
        yield node
        if isinstance(node, ast.Try | ast.With) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test)
        ):
            yield from _at_import(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _imports(path: Path) -> frozenset[str]:
    return frozenset(_imported(_at_import(_tree(path).body)))


_free_of_engines: set[str] = set()


@cache
def _is_engine(name: str) -> bool:
    """Whether importing `name`, a module or something of a module, imports an engine's library."""
    waiting, seen = [name], set[str]()
    while waiting:
        name = waiting.pop()
        if name.partition(".")[0] in LIBRARIES:
            return True
        if name not in seen and name not in _free_of_engines:
            seen.add(name)
            waiting += [imported for file in _files(name) for imported in _imports(file)]
    _free_of_engines.update(seen)
    return False


def _files(name: str) -> Iterator[Path]:
    """This repository's files that run when `name` is imported."""
    first, *rest = name.split(".")
    if first in PACKAGES:
        path = ROOT / PACKAGES[first]
        for part in (None, *rest):
            path = path / part if part else path
            module = path.with_suffix(".py")
            file = module if module.is_file() else path / "__init__.py"
            if file.is_file():
                yield file
