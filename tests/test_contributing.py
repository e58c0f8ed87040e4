"""The worked example of CONTRIBUTING.md, run as printed: its files in a copy of the tree, then its command."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import ROOT

ROWS = {
    "adapters/registry.py": "BACKENDS: dict[str, Backend] = {\n",
    "tests/adapters/test_contract.py": "CASES = [\n",
    "adapters/catalog/catalog.yaml": "\nmodels:\n",
}
"""A file that the example adds a row to, and the text that the row follows."""


@pytest.mark.slow
def test_the_example_backend_passes_the_contract_suite(tmp_path: Path) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    page = page[page.index("### A complete example") :]
    copy_tree(tmp_path)
    written: list[str] = []
    for name, text in re.findall(r"^```\w+ (\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        path = tmp_path / name
        if name in ROWS:
            before, anchor, after = path.read_text("utf-8").partition(ROWS[name])
            assert anchor, f"{name}: no place for the row"
            text = before + anchor + text + after
        else:
            assert not (ROOT / name).exists(), f"{name} is in the repository: the example needs another name"
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        written.append(name)
    assert set(ROWS) < set(written)
    [command] = re.findall(r"^```sh\npython (.*?)\n```$", page, re.MULTILINE)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{tmp_path / 'tests'}"}
    ran = subprocess.run(
        [sys.executable, *shlex.split(command), "-p", "no:cacheprovider"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None
    assert int(passed[1]) >= 10, "the whole suite ran"
    linted = subprocess.run(
        [Path(sys.executable).with_name("ruff"), "check", "--no-cache", *(one for one in written if one.endswith(".py"))],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert linted.returncode == 0, linted.stdout


def copy_tree(target: Path) -> None:
    """What the example's files and command need of this repository; what they change is copied, the rest is linked."""
    for name in ("server", "compat", "starter", "examples"):
        (target / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "pyproject.toml", target)
    shutil.copytree(ROOT / "adapters", target / "adapters", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "support", target / "tests" / "support")
    (target / "tests" / "adapters").mkdir()
    for name in ("conftest.py", "adapters/test_contract.py", "adapters/test_registry.py"):
        shutil.copy(ROOT / "tests" / name, target / "tests" / name)
