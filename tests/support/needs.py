"""What tests need, read from their source text: nothing is imported to find out.

A test needs an engine if it runs one of an engine's libraries: imported at the top of its module, or of anything that this
imports; imported within a function that it calls; or through one of `NAMES`. Fixtures count as functions.
"""

import ast
import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Source:
    """What a file's text says."""

    imports: frozenset[str]
    """Modules, and names of modules, that importing the file imports."""
    meanings: dict[str, str]
    """What each imported name means, dotted."""
    uses: dict[str, frozenset[str]]
    """Names, attributes of names, and parameters (fixtures) that each function and class of the file uses."""
    lazy_imports: dict[str, frozenset[str]]
    """What each function and class of the file imports when it runs."""


def imports_engine(path: Path) -> bool:
    """Whether importing this file imports an engine's library."""
    return any(map(_is_engine, _source(path).imports))


@cache
def uses(path: Path, names: frozenset[str]) -> bool:
    """Whether a function or class of this file uses one of these names, for example as a fixture."""
    return any(names & used for used in _source(path).uses.values())


@cache
def definitions_that_need(mark: str, path: Path) -> frozenset[str]:
    """Functions and classes of a file that need what `mark` stands for, by themselves or through what they use."""
    _in_work.add(path)
    source = _source(path)
    needing: set[str] = set()
    for definition, names in source.uses.items():
        lazily = mark == "engine" and any(map(_is_engine, source.lazy_imports[definition]))
        elsewhere = {_resolved(name, source.meanings) for name in names}
        if lazily or names & NAMES[mark] or any(_needs(mark, *found) for found in elsewhere if found):
            needing.add(definition)
    while more := {name for name, names in source.uses.items() if names & needing} - needing:
        needing |= more
    _in_work.discard(path)
    return frozenset(needing)


_in_work: set[Path] = set()
"""Files that import each other would be read forever."""


def _needs(mark: str, path: Path, name: str) -> bool:
    return path not in _in_work and name in definitions_that_need(mark, path)


def _resolved(name: str, meanings: dict[str, str]) -> tuple[Path, str] | None:
    """(file, definition) that `name` or `module.name` means in a file, if it is one of this repository's."""
    first, _, rest = name.partition(".")
    if first not in meanings:
        return None
    module, _, attribute = f"{meanings[first]}{'.' if rest else ''}{rest}".rpartition(".")
    files = _files(module) if module else ()
    return (files[-1], attribute) if files else None


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
            waiting += [imported for file in _files(name) for imported in _source(file).imports]
    _free_of_engines.update(seen)
    return False


_free_of_engines: set[str] = set()


@cache
def _files(name: str) -> tuple[Path, ...]:
    """This repository's files that run when `name` is imported."""
    first, *rest = name.split(".")
    if first not in PACKAGES:
        return ()
    found: list[Path] = []
    path = ROOT / PACKAGES[first]
    for part in (None, *rest):
        path = path / part if part else path
        module = path.with_suffix(".py")
        file = module if module.is_file() else path / "__init__.py"
        if file.is_file():
            found.append(file)
    return tuple(found)


# --- what a file says ------------------------------------------------------------------------------------------------

_sources: dict[str, tuple[int, Source]] = {}
"""By path: when the file was changed, and what it said then."""


def load(cached: Path) -> None:
    """Reads what an earlier run, or another process of this one, found in the files."""
    with suppress(OSError, EOFError, pickle.UnpicklingError, AttributeError, TypeError):
        _sources.update(pickle.loads(cached.read_bytes()))


def save(cached: Path) -> None:
    """Reads all tests and what they import, and writes it for `load`."""
    for path in (ROOT / "tests").rglob("*.py"):
        if not imports_engine(path):
            for mark in NAMES:
                definitions_that_need(mark, path)
    cached.parent.mkdir(parents=True, exist_ok=True)
    part = cached.with_suffix(f".{os.getpid()}")
    part.write_bytes(pickle.dumps(_sources))
    part.replace(cached)


@cache
def _source(path: Path) -> Source:
    changed = path.stat().st_mtime_ns
    found = _sources.get(str(path))
    if not found or found[0] != changed:
        found = _sources[str(path)] = (changed, _read(path))
    return found[1]


def _read(path: Path) -> Source:
    tree = ast.parse(path.read_bytes(), str(path))
    meanings: dict[str, str] = {}
    uses: dict[str, frozenset[str]] = {}
    lazy_imports: dict[str, frozenset[str]] = {}
    for node in tree.body:
        nodes = list(ast.walk(node))
        for part in nodes:
            if isinstance(part, ast.Import):
                meanings |= {alias.asname or alias.name: alias.name for alias in part.names}
            elif isinstance(part, ast.ImportFrom) and part.module and not part.level:
                meanings |= {alias.asname or alias.name: f"{part.module}.{alias.name}" for alias in part.names}
        if isinstance(node, Definition):
            uses[node.name] = frozenset(_names(nodes))
            lazy_imports[node.name] = frozenset(_imported(nodes))
    return Source(frozenset(_imported(_at_import(tree.body))), meanings, uses, lazy_imports)


def _names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.keyword) and node.arg == "profile" and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


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
