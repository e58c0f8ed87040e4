"""Settings as arguments of the command line, shared by the subcommands."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.catalog.catalog import Catalog
    from adapters.catalog.yaml_lines import LocatedFile
    from server.settings import Settings

SETTINGS = ("host", "port", "profile", "catalog", "cache-dir", "data-dir", "log-level", "log-format")
"""Settings that `serve` takes on the command line."""

Subparsers = Any
"""What `argparse.ArgumentParser.add_subparsers` returns; its class is private."""


def add_settings(parser: argparse.ArgumentParser, names: tuple[str, ...] = SETTINGS) -> None:
    """Adds `--config` and options named as settings; `read_settings` finds them again."""
    parser.add_argument("--config", type=Path, help="a YAML file of settings, models, profiles (docs/configuration.md)")
    for name in names:
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS)
    parser.set_defaults(settings=tuple(name.replace("-", "_") for name in names))


def read_settings(arguments: argparse.Namespace) -> "Settings":
    """The settings from command line (see `add_settings`), environment and file.

    Raises:
        ConfigurationError: They do not fit. Each line of the message has the key, of a file also the line.
    """
    from pydantic import ValidationError

    from adapters.catalog.yaml_lines import ConfigurationError
    from server.settings import PREFIX, Settings, misspelt

    config = arguments.config or (Path(value) if (value := os.environ.get("MUYBRIDGE_CONFIG")) else None)
    file = read_file(config) if config is not None else None
    if wrong := misspelt(os.environ):
        raise ConfigurationError("\n".join(wrong))
    Settings.config_path = config
    Settings.file_values = file_settings(file) if file is not None else {}
    given = {name: value for name, value in vars(arguments).items() if name in arguments.settings}
    try:
        return Settings(**given)
    except ValidationError as error:
        variables = {name.upper() for name in os.environ}
        problems: list[str] = []
        for one in error.errors(include_url=False, include_input=False):
            name = str(one["loc"][0]) if one["loc"] else ""
            variable = f"{PREFIX}{name}".upper()
            if name in given:
                problems.append(f"--{name.replace('_', '-')}: {one['msg']}")
            elif name and variable in variables:
                problems.append(f"{variable}: {one['msg']}")
            else:
                problems.append(file.explain(one) if file is not None else f"settings: {one['msg']}")
        raise ConfigurationError("\n".join(dict.fromkeys(problems))) from None


def read_file(path: Path) -> "LocatedFile":
    """A configuration file: settings, and optionally models and profiles.

    Raises:
        ConfigurationError: It cannot be read, or holds something else.
    """
    from adapters.catalog.yaml_lines import ConfigurationError, read_located

    if not path.is_file():
        raise ConfigurationError(f"{path}: there is no such file")
    file = read_located(path)
    if file.data is not None and not isinstance(file.data, dict):
        raise ConfigurationError(f"{path}: expected settings as `name: value`")
    return file


def file_settings(file: "LocatedFile") -> dict[str, Any]:
    """The settings in a configuration file, which may also have the sections of a catalog."""
    from server.settings import CATALOG_SECTIONS

    data: dict[Any, Any] = file.data or {}
    return {str(name): value for name, value in data.items() if name not in CATALOG_SECTIONS}


def read_catalog(settings: "Settings") -> "Catalog":
    """The catalog that the settings name. The options of models in the configuration file are checked too.

    Raises:
        ConfigurationError: A file cannot be read or is not valid; each line of the message has file, line and key.
    """
    from adapters.catalog.catalog import load_catalog
    from adapters.catalog.yaml_lines import ConfigurationError

    catalog = load_catalog(*settings.catalogs)
    if settings.config_path is not None:
        file = read_file(settings.config_path)
        if problems := option_problems(file, catalog):
            raise ConfigurationError("\n".join(problems))
        if settings.profile not in catalog.profiles and settings.file_values.get("profile") == settings.profile:
            raise ConfigurationError(file.problem(("profile",), unknown_profile(settings.profile, catalog)))
    return catalog


def read_catalog_to_extend(arguments: argparse.Namespace) -> "tuple[Settings, Catalog]":
    """Settings, and the catalog to which a model may be added: the operator's file need not exist yet.

    Raises:
        ConfigurationError: As `read_settings` and `read_catalog`.
    """
    from adapters.catalog.catalog import load_catalog

    settings = read_settings(arguments)
    own = settings.own_catalog
    return settings, load_catalog(own if own.is_file() else None, settings.config_path)


def option_problems(file: "LocatedFile", catalog: "Catalog") -> list[str]:
    """What the backends do not take of the options of a file's models, one line each."""
    from adapters.registry import implementation

    data: dict[str, Any] = file.data or {}
    names: dict[str, Any] = data.get("models") or {}
    return [
        file.problem(("models", name, "options", *option.split(".")), problem)
        for name in names
        for option, problem in implementation(catalog.models[name].backend).Options.problems(
            catalog.models[name].options
        )
    ]


def unknown_profile(name: str, catalog: "Catalog") -> str:
    """The message for a profile that does not exist."""
    return f"there is no profile {name!r}; choose one of {', '.join(catalog.profiles)}"
