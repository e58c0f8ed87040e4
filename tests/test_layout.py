"""The layout of the code: small modules in small folders, which say what is in them."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.servers import ROOT

PACKAGES = ("server", "compat", "adapters")
MOST_MODULES, MOST_LINES, MOST_AT_THE_TOP = 16, 320, 16
RE_EXPORTS = {"adapters/base"}
"""Packages whose `__init__` imports their modules: the contract has one import path."""
HISTORY = {"CHANGELOG.md", "docs/interface-specification.md"}
"""What they say of paths was true then, or is not ours."""

TRACKED = [
    path
    for path in subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    if (ROOT / path).is_file()
]
MODULES = [path for path in TRACKED if path.endswith(".py") and path.split("/")[0] in PACKAGES]
FOLDERS = sorted({str(Path(path).parent) for path in MODULES})
TOPS = {path.split("/")[0] for path in TRACKED if "/" in path}
DOCUMENTED = [path for path in TRACKED if path.endswith((".md", ".py")) and path not in HISTORY]


def modules_of(folder: str) -> set[str]:
    """The names of a folder's modules and packages."""
    inside = [Path(path).relative_to(folder).parts for path in MODULES if path.startswith(f"{folder}/")]
    return {parts[0].removesuffix(".py") for parts in inside} - {"__init__", "__main__"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_small_and_its_modules_do_not_repeat_its_name(folder: str) -> None:
    own = [path for path in MODULES if str(Path(path).parent) == folder and not path.endswith("/__init__.py")]
    assert len(own) <= MOST_MODULES, f"{folder} has {len(own)} modules: make packages of what belongs together"
    repeating = [name for name in modules_of(folder) if name.startswith(Path(folder).name + "_")]
    assert not repeating, f"{folder}: {repeating} repeat the name of their folder"


def test_the_servers_top_level_can_be_read_at_a_glance() -> None:
    entries = modules_of("server") | {"__main__"}
    assert len(entries) <= MOST_AT_THE_TOP, sorted(entries)


def test_modules_are_short() -> None:
    lengths = {path: len((ROOT / path).read_text("utf-8").splitlines()) for path in MODULES}
    assert not {path: length for path, length in lengths.items() if length > MOST_LINES}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_package_lists_its_modules_and_imports_nothing(folder: str) -> None:
    path = ROOT / folder / "__init__.py"
    tree = ast.parse(path.read_text("utf-8"))
    if folder not in RE_EXPORTS:
        code = [node for node in tree.body if not isinstance(node, ast.Expr)]
        assert not code, f"{path.relative_to(ROOT)}:{code[0].lineno}: a package's __init__ holds a docstring alone"
    listed = set(re.findall(r"^(\w+)  +\S", ast.get_docstring(tree) or "", re.M))
    assert listed == modules_of(folder), "its docstring lists each module: its name, two spaces or more, what it has"


def test_paths_in_backticks_exist() -> None:
    named = [(path, line, name) for path in DOCUMENTED for line, name in paths_in(ROOT / path)]
    missing = [f"{path}:{line}: {name}" for path, line, name in named if not exists(name)]
    assert not missing, "\n".join(missing)


def paths_in(file: Path) -> Iterator[tuple[int, str]]:
    """(line, path) of what is written as a path of this repository, in a page or in docstrings."""
    for start, text in texts_of(file):
        for found in re.finditer(r"`([\w.*-]+)(/[\w./*-]*)`", text):
            if found[1] in TOPS:
                yield start + text.count("\n", 0, found.start()), found[1] + found[2]


def texts_of(file: Path) -> Iterator[tuple[int, str]]:
    """(first line, text) of a page, or of each docstring of a module, those of constants among them."""
    text = file.read_text("utf-8")
    if file.suffix == ".md":
        yield 1, text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def exists(name: str) -> bool:
    """Whether there is such a path; `*` stands for any name, and one in CAPITALS for what somebody else names."""
    return bool(re.search(r"/[A-Z]+(/|$)", name)) or any(ROOT.glob(name.rstrip("/")))
