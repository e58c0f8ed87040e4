"""Third-party clients in environments of their own: their requirements and ours may disagree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def venv_with(folder: Path, *packages: str) -> Path:
    """A new Python environment with these packages; its interpreter. Skips the test if they cannot be installed."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    install([str(python), "-m", "pip", "install", "--quiet", *packages], folder)
    return python


def node_with(folder: Path, *packages: str) -> Path:
    """A new folder with these packages of npm. Skips the test if they cannot be installed."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    (folder / "package.json").write_text('{"type": "module"}')
    install([npm, "install", "--no-audit", "--no-fund", *packages], folder)
    return folder


def install(command: list[str], folder: Path) -> None:
    """Runs an installer; skips the test if it fails."""
    done = subprocess.run(command, cwd=folder, env=outside(), capture_output=True, text=True, timeout=550)
    if done.returncode != 0:
        pytest.skip(f"cannot be installed here: {done.stderr.strip()[-200:]}")


def outside(**variables: str) -> dict[str, str]:
    """The environment of a process that must not import our modules."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COLUMNS")}
    return kept | variables


def run_program(
    command: list[str | Path],
    folder: Path,
    timeout: float = 300,
    stdin: Path = Path(os.devnull),
    **variables: str,
) -> str:
    """The output of a client's program, which must succeed. It reads the file `stdin`."""
    with stdin.open("rb") as given:
        done = subprocess.run(
            command,
            cwd=folder,
            env=outside(**variables),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=given,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout
