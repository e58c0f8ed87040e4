"""Recognizes text-to-image pipelines by a repository's config files and diffusers' source.

Nothing of diffusers is imported: that takes tens of seconds on a slow machine.
"""

import ast
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapters.errors import ModelLoadFailed
from adapters.image.capabilities import generates_from_text
from adapters.registry import Detected

MAX_BASES = 4
"""Classes above a pipeline's own that are searched for `__call__`."""


def detect(configs: Mapping[str, Any]) -> Detected:
    """A text-to-image pipeline by its config files. See `Backend.detect`."""
    name = configs.get("model_index.json", {}).get("_class_name")
    arguments = call_arguments(name) if isinstance(name, str) and name.isidentifier() else None
    if arguments is None:
        raise ModelLoadFailed(f"the installed diffusers has no pipeline class {str(name)[:80]!r}")
    required = {argument for argument, has_default in arguments.items() if not has_default}
    if not generates_from_text(arguments.keys(), required):
        raise ModelLoadFailed(f"{name} does not generate images from text only")
    return Detected("image")


def call_arguments(name: str) -> dict[str, bool] | None:
    """The arguments of a pipeline class, and whether each has a default; None: there is no such class."""
    package = find_spec("diffusers")
    if package is None or not package.submodule_search_locations or not name.endswith("Pipeline"):
        return None
    files = sorted((Path(package.submodule_search_locations[0]) / "pipelines").rglob("pipeline_*.py"))
    for _ in range(MAX_BASES):
        found = next((one for path in files if (one := _class(path, name)) is not None), None)
        if found is None:
            return None
        for node in found.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__call__":
                return _arguments(node.args)
        bases = [base.id for base in found.bases if isinstance(base, ast.Name) and base.id.endswith("Pipeline")]
        if not bases:
            return None
        name = bases[0]
    return None


def _class(path: Path, name: str) -> ast.ClassDef | None:
    source = path.read_text("utf-8")
    if f"class {name}(" not in source:
        return None
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return next((node for node in classes if node.name == name), None)


def _arguments(arguments: ast.arguments) -> dict[str, bool]:
    plain = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    first_default = len(plain) - len(arguments.defaults)
    found = {name: number >= first_default for number, name in enumerate(plain) if name != "self"}
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return found | {one.arg: default is not None for one, default in named}
