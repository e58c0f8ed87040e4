"""`muybridge config init|show|check`: write a first configuration, print the settings in force, find errors."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from server.commands.arguments import (
    Subparsers,
    add_settings,
    file_settings,
    option_problems,
    read_settings,
    unknown_profile,
)

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-configuration.yaml"
"""The annotated catalog, which the wheel contains too."""
KINDS = ("text", "vision", "embedding", "speech", "voice", "image", "video")


def register(subparsers: Subparsers) -> None:
    """Adds the parser."""
    parser = subparsers.add_parser("config", help="write, show or check configuration files")
    actions = parser.add_subparsers(dest="action", required=True)

    init = actions.add_parser("init", help="write a first configuration")
    init.add_argument("path", type=Path, help="the file to write: JSON if it ends in .json, else YAML")
    init.add_argument(
        "--kind", help=f"for one model of this kind ({', '.join(KINDS)}); without it: an annotated catalog"
    )
    init.add_argument("--force", action="store_true", help="replace an existing file")
    init.set_defaults(run=run_init)

    show = actions.add_parser("show", help="print the settings in force and the models of the profile")
    add_settings(show, ("profile", "catalog", "cache-dir", "data-dir"))
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(run=run_show)

    check = actions.add_parser("check", help="check settings, catalogs and model configurations")
    check.add_argument("paths", type=Path, nargs="+", metavar="path")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=run_check)


def run_init(arguments: argparse.Namespace) -> int:
    """Writes the file."""
    from adapters.catalog.catalog import ConfigurationError
    from adapters.catalog.model_config import default_config, save_config, write_text

    path: Path = arguments.path
    if path.exists() and not arguments.force:
        raise ConfigurationError(f"{path}: the file exists; use --force to replace it")
    if arguments.kind:
        save_config(default_config(arguments.kind), path)
    elif path.suffix == ".json":
        raise ConfigurationError(
            f"{path}: the annotated catalog is YAML, since JSON has no comments; use a name that ends in .yaml"
        )
    else:
        write_text(path, EXAMPLE.read_text("utf-8"))
    print(f"wrote {path}")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Prints the settings (without keys) and the profile's models."""
    from rich.console import Console
    from rich.table import Table

    from adapters.catalog.catalog import load_catalog

    settings = read_settings(arguments)
    catalog = load_catalog(*settings.catalogs)
    profile = catalog.profile(settings.profile)
    # pydantic shows keys as stars
    values = settings.model_dump(mode="json")
    models = {name: catalog.models[name].model_dump(mode="json", exclude_defaults=True) for name in profile.models}
    if arguments.json:
        print(json.dumps({"settings": values, "models": models, "aliases": profile.aliases}, indent=2))
        return 0
    console = Console()
    table = Table("setting", "value", title="Settings")
    for name, value in values.items():
        table.add_row(name, json.dumps(value) if isinstance(value, list) else str(value))
    console.print(table)
    served = Table("model", "kind", "backend", "aliases", title=f"Profile {settings.profile}")
    for name in profile.models:
        entry = catalog.models[name]
        aliases = [alias for alias, meant in profile.aliases.items() if meant == name]
        served.add_row(name, entry.kind, entry.backend, ", ".join(aliases))
    console.print(served)
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Checks each file by its type. The exit status is 2 if one has errors."""
    from rich.console import Console

    results = [check_file(path) for path in arguments.paths]
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False, markup=False)
        for result in results:
            for word in ("errors", "warnings"):
                for line in result[word]:
                    console.print(f"{word[:-1]}: {line}")
            for name, value in result["recommendations"].items():
                console.print(f"recommended: {name}: {value}")
            if not result["errors"]:
                needed = result["estimated_memory_bytes"]
                console.print(
                    f"ok: {result['path']} ({result['what']}{f', {needed / 2**30:.1f} GiB' if needed else ''})"
                )
    return 2 if any(result["errors"] for result in results) else 0


def check_file(path: Path) -> dict[str, Any]:
    """Checks a file: settings, a catalog (with `models` or `profiles`), both, or a configuration of one model."""
    from adapters.catalog.yaml_lines import ConfigurationError, read_located

    result: dict[str, Any] = {
        "path": str(path), "what": "unknown", "errors": [], "warnings": [], "recommendations": {},
        "estimated_memory_bytes": None,
    }  # fmt: skip
    try:
        data: Any = read_located(path).data
        what, check = _type_of(set(cast(dict[Any, Any], data)) if isinstance(data, dict) else set())
        result["what"] = what
        result |= check(path)
    except ConfigurationError as error:
        result["errors"] = str(error).splitlines()
    return result


def _type_of(keys: set[Any]) -> "tuple[str, Check]":
    """What a file is by its keys, and what checks it."""
    from server.settings import CATALOG_SECTIONS, Settings

    if keys & CATALOG_SECTIONS:
        if keys.isdisjoint(Settings.model_fields):
            return "a catalog", _check_catalog
        return "settings and a catalog", _check_settings
    if keys & {"kind", "model_type", "model", "model_name"}:
        return "a model's configuration", _check_model
    return "settings", _check_settings


def _check_catalog(path: Path) -> dict[str, Any]:
    from adapters.catalog.catalog import load_catalog
    from adapters.catalog.yaml_lines import read_located

    return {"errors": option_problems(read_located(path), load_catalog(path))}


def _check_model(path: Path) -> dict[str, Any]:
    from adapters import hardware
    from adapters.catalog.catalog import load_catalog
    from adapters.catalog.model_config import load_config
    from adapters.catalog.yaml_lines import read_located
    from adapters.memory.validation import validate_config

    config = load_config(path)
    file = read_located(path)
    found = validate_config(config, load_catalog(), hardware.find())

    def located(message: str) -> str:
        field, colon, rest = message.partition(": ")
        return file.problem((field,), rest) if colon and field.isidentifier() else file.problem((), message)

    return {
        "errors": [located(message) for message in found.errors],
        "warnings": [located(message) for message in found.warnings],
        "recommendations": found.recommendations,
        "estimated_memory_bytes": found.estimated_memory_bytes,
    }


def _check_settings(path: Path) -> dict[str, Any]:
    from pydantic import ValidationError

    from adapters.catalog.catalog import load_catalog
    from adapters.catalog.yaml_lines import ConfigurationError, read_located
    from server.settings import Settings

    class FileSettings(Settings):
        """Settings from the file alone, without the environment."""

        @classmethod
        def settings_customise_sources(cls, settings_cls: Any, init_settings: Any, *_: Any, **__: Any) -> Any:
            return (init_settings,)

    file = read_located(path)
    data: Any = {} if file.data is None else file.data
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"{path}: the file must contain settings, a catalog or a model's configuration, as `name: value`"
        )
    try:
        settings = FileSettings(**file_settings(file))
    except ValidationError as error:
        raise file.error(error) from None
    catalog = load_catalog(settings.catalogs[0], path)
    errors = option_problems(file, catalog)
    if settings.profile not in catalog.profiles:
        errors.append(file.problem(("profile",), unknown_profile(settings.profile, catalog)))
    return {"errors": errors}


Check = Callable[[Path], dict[str, Any]]
