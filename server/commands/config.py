"""`muybridge config init|show|check`: write a configuration to begin with, print what holds, find what is wrong."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from server.commands.arguments import Subparsers, add_settings, read_settings

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-configuration.yaml"
"""The annotated catalog; the wheel carries it too."""
KINDS = ("text", "vision", "embedding", "speech", "voice", "image", "video")


def register(subparsers: Subparsers) -> None:
    """Adds the parser."""
    parser = subparsers.add_parser("config", help="write, show or check configuration files")
    actions = parser.add_subparsers(dest="action", required=True)

    init = actions.add_parser("init", help="write a configuration to begin with")
    init.add_argument("path", type=Path, help="where to; .json for JSON, else YAML")
    init.add_argument("--kind", help=f"of one model ({', '.join(KINDS)}); without it: an annotated catalog of your own")
    init.add_argument("--force", action="store_true", help="replace a file that is there")
    init.set_defaults(run=run_init)

    show = actions.add_parser("show", help="print the settings in force and where models would run")
    add_settings(show, ("profile", "catalog", "cache-dir", "data-dir"))
    show.add_argument("--json", action="store_true", help="for programs")
    show.set_defaults(run=run_show)

    check = actions.add_parser("check", help="check files: settings, catalogs, models' configurations")
    check.add_argument("paths", type=Path, nargs="+", metavar="path")
    check.add_argument("--json", action="store_true", help="for programs")
    check.set_defaults(run=run_check)


def run_init(arguments: argparse.Namespace) -> int:
    """Writes the file; 2 where it would replace one."""
    from adapters.catalog.catalog import ConfigurationError
    from adapters.catalog.model_config import default_config, save_config, write_whole

    path: Path = arguments.path
    if path.exists() and not arguments.force:
        raise ConfigurationError(f"{path}: the file is there already; --force replaces it")
    if arguments.kind:
        save_config(default_config(arguments.kind), path)
    elif path.suffix == ".json":
        raise ConfigurationError(f"{path}: the annotated catalog is YAML, since JSON has no comments; name it .yaml")
    else:
        write_whole(path, EXAMPLE.read_text("utf-8"))
    print(f"wrote {path}")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Prints settings (never keys) and the profile's models."""
    from rich.console import Console
    from rich.table import Table

    from adapters.catalog.catalog import load_catalog

    settings = read_settings(arguments)
    catalog = load_catalog(settings.catalog)
    profile = catalog.profile(settings.profile)
    # Keys are shown as stars, by pydantic.
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
    served = Table("model", "kind", "backend", "also answers to", title=f"Profile {settings.profile}")
    for name in profile.models:
        entry = catalog.models[name]
        aliases = [alias for alias, meant in profile.aliases.items() if meant == name]
        served.add_row(name, entry.kind, entry.backend, ", ".join(aliases))
    console.print(served)
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Checks each file as what it is; 2 if one is wrong."""
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
                console.print(f"better: {name}: {value}")
            if not result["errors"]:
                needed = result["estimated_memory_bytes"]
                console.print(f"ok: {result['path']} ({result['what']}{f', {needed / 1e9:.1f} GB' if needed else ''})")
    return 2 if any(result["errors"] for result in results) else 0


def check_file(path: Path) -> dict[str, Any]:
    """What is wrong with a file: settings, a catalog (it has `models` or `profiles`), or a model's (it has a kind)."""
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
    from adapters.catalog.model_config import option_problems
    from adapters.catalog.yaml_lines import read_located

    file = read_located(path)
    catalog = load_catalog(path)
    errors = [
        file.problem(("models", name, "options", *problem.partition(": ")[0].split(".")), problem.partition(": ")[2])
        for name in cast(dict[str, Any], file.data.get("models") or {})
        for problem in option_problems(catalog.models[name])
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

    def placed(message: str) -> str:
        field, colon, rest = message.partition(": ")
        return file.problem((field,), rest) if colon and field.isidentifier() else file.problem((), message)

    return {
        "errors": [placed(message) for message in found.errors],
        "warnings": [placed(message) for message in found.warnings],
        "recommendations": found.recommendations,
        "estimated_memory_bytes": found.estimated_memory_bytes,
    }


def _check_settings(path: Path) -> dict[str, Any]:
    from pydantic import ValidationError

    from adapters.catalog.catalog import load_catalog
    from adapters.catalog.yaml_lines import ConfigurationError, read_located
    from server.settings import Settings

    class FileSettings(Settings):
        """The file alone: what the environment would add is not the file's fault."""

        @classmethod
        def settings_customise_sources(cls, settings_cls: Any, init_settings: Any, *_: Any, **__: Any) -> Any:
            return (init_settings,)

    file = read_located(path)
    data: Any = {} if file.data is None else file.data
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: expected settings, a catalog or a model's configuration, as `name: value`")
    try:
        settings = FileSettings(**cast(dict[str, Any], data))
    except ValidationError as error:
        raise file.error(error) from None
    if settings.profile not in (catalog := load_catalog(settings.catalog)).profiles:
        names = ", ".join(catalog.profiles)
        raise ConfigurationError(file.problem(("profile",), f"there is no {settings.profile!r}; there are {names}"))
    return {}


Check = Callable[[Path], dict[str, Any]]
CHECKS: tuple[tuple[str, set[str], Check], ...] = (
    ("a catalog", {"models", "profiles"}, _check_catalog),
    ("a model's configuration", {"kind", "model_type", "model", "model_name"}, _check_model),
    ("settings", set(), _check_settings),
)
"""What a file is, by the keys that it has; the first that fits."""
