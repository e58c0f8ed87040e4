"""`muybridge config init|show|check`: write a first configuration, print the settings in force, find errors."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from server.commands.arguments import Subparsers, add_settings, read_settings

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
    catalog = load_catalog(settings.catalog)
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
    """Checks a file: settings, a catalog (with `models` or `profiles`), or a model's configuration (with a kind)."""
    from adapters.catalog.yaml_lines import ConfigurationError, read_located

    result: dict[str, Any] = {
        "path": str(path), "what": "unknown", "errors": [], "warnings": [], "recommendations": {},
        "estimated_memory_bytes": None,
    }  # fmt: skip
    try:
        data: Any = read_located(path).data
        names = set(cast(dict[Any, Any], data)) if isinstance(data, dict) else set[Any]()
        for what, keys, check in CHECKS:
            if not keys or names & keys:
                result["what"] = what
                result |= check(path)
                break
    except ConfigurationError as error:
        result["errors"] = str(error).splitlines()
    return result


def _check_catalog(path: Path) -> dict[str, Any]:
    from adapters.catalog.catalog import load_catalog
    from adapters.catalog.yaml_lines import read_located
    from adapters.registry import implementation

    file = read_located(path)
    catalog = load_catalog(path)
    entries = [(name, catalog.models[name]) for name in cast(dict[str, Any], file.data.get("models") or {})]
    errors = [
        file.problem(("models", name, "options", *option.split(".")), problem)
        for name, entry in entries
        for option, problem in implementation(entry.backend).Options.problems(entry.options)
    ]
    return {"errors": errors}


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
        settings = FileSettings(**cast(dict[str, Any], data))
    except ValidationError as error:
        raise file.error(error) from None
    if settings.profile not in (catalog := load_catalog(settings.catalog)).profiles:
        names = ", ".join(catalog.profiles)
        raise ConfigurationError(
            file.problem(("profile",), f"there is no profile {settings.profile!r}; choose one of {names}")
        )
    return {}


Check = Callable[[Path], dict[str, Any]]
CHECKS: tuple[tuple[str, set[str], Check], ...] = (
    ("a catalog", {"models", "profiles"}, _check_catalog),
    ("a model's configuration", {"kind", "model_type", "model", "model_name"}, _check_model),
    ("settings", set(), _check_settings),
)
"""The types of files, recognised by their keys: the first one that matches."""
