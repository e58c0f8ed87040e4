"""Settings as arguments of the command line, shared by the subcommands."""

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
    """Adds `--config` and options named as settings; `read_settings` finds them again."""
    parser.add_argument("--config", type=Path, help="a YAML file of settings (docs/configuration.md)")
    for name in names:
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS)
    parser.set_defaults(settings=tuple(name.replace("-", "_") for name in names))


def read_settings(arguments: argparse.Namespace) -> "Settings":
    """The settings from command line (see `add_settings`), environment and file.

    Raises:
        ConfigurationError: They do not fit; the message names the key.
    """
    import yaml
    from pydantic import ValidationError

    from adapters.catalog.catalog import ConfigurationError
    from server.settings import Settings

    config = arguments.config or (Path(value) if (value := os.environ.get("MUYBRIDGE_CONFIG")) else None)
    if config is not None and not config.is_file():
        raise ConfigurationError(f"{config}: there is no such file")
    Settings.yaml_path = config
    try:
        return Settings(**{name: value for name, value in vars(arguments).items() if name in arguments.settings})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{config or 'settings'}: {key + ': ' if key else ''}{first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{config}: {' '.join(str(error).split())}") from None
    except (TypeError, ValueError):  # pydantic-settings updates a dictionary with whatever the file holds
        raise ConfigurationError(f"{config}: expected settings as `name: value`") from None
