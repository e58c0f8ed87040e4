"""The subcommands of `muybridge`. Each of `main.COMMANDS` is a module here with a `register(subparsers)`.

`register` adds a parser and sets `run`, a function of the parsed arguments that returns the exit status. Modules
here import large libraries inside that function, so that `muybridge --help` is fast.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.settings import Settings

SETTINGS = ("host", "port", "profile", "catalog", "cache-dir", "data-dir", "log-level", "log-format")
"""Settings that `serve` takes on the command line."""

Subparsers = Any
"""What `argparse.ArgumentParser.add_subparsers` returns; its class is private."""


def add_settings(parser: argparse.ArgumentParser, names: tuple[str, ...] = SETTINGS) -> None:
    """Adds `--config` and one option per setting, for `read_settings`."""
    parser.add_argument("--config", type=Path, help="a YAML file of settings (docs/configuration.md)")
    for name in names:
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS)
    parser.set_defaults(settings=tuple(name.replace("-", "_") for name in names))


def read_settings(arguments: argparse.Namespace) -> "Settings":
    """Reads the settings from the command line (see `add_settings`), the environment and the file.

    Raises:
        ConfigurationError: A setting is invalid; the message names it.
    """
    import yaml
    from pydantic import ValidationError

    from adapters.catalog.catalog import ConfigurationError
    from server.settings import Settings

    config = arguments.config or (Path(value) if (value := os.environ.get("MUYBRIDGE_CONFIG")) else None)
    if config is not None and not config.is_file():
        raise ConfigurationError(f"{config}: the file does not exist")
    Settings.yaml_path = config
    try:
        return Settings(**{name: value for name, value in vars(arguments).items() if name in arguments.settings})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{config or 'settings'}: {key + ': ' if key else ''}{first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{config}: {' '.join(str(error).split())}") from None
    except (TypeError, ValueError):  # pydantic-settings updates a dictionary with the file's content, of any type
        raise ConfigurationError(f"{config}: the file must contain settings as `name: value`") from None
