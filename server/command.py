"""The `muybridge` command: serve, demo."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import uvloop
from pydantic import ValidationError

from adapters.configuration import ConfigurationError, load_catalog
from server.app import create_app, create_pool
from server.lifecycle import Lifecycle
from server.listening import listen
from server.metrics import configure_logs, log
from server.settings import Settings


def read_settings(config: Path | None, given: dict[str, Any]) -> Settings:
    """The settings from command line, environment and file.

    Raises:
        ConfigurationError: They do not fit; the message names the key.
    """
    config = config or (Path(value) if (value := os.environ.get("MUYBRIDGE_CONFIG")) else None)
    if config is not None and not config.is_file():
        raise ConfigurationError(f"{config}: there is no such file")
    Settings.yaml_path = config
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{config or 'settings'}: {key + ': ' if key else ''}{first['msg']}") from None


async def serve(settings: Settings) -> None:
    """Serves the profile's models until it is told to stop."""
    lifecycle = Lifecycle()
    app = create_app(settings, create_pool(settings, load_catalog(settings.catalog)), lifecycle)
    log.info("serving", url=f"http://{settings.host}:{settings.port}/v1", profile=settings.profile)
    await listen(app, settings, lifecycle)


def main() -> None:
    """Runs the command; exits 2 with one line for a wrong configuration."""
    parser = argparse.ArgumentParser(prog="muybridge", description="Your own models through the OpenAI API.")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve the models of a profile")
    serving.add_argument("--config", type=Path, help="a YAML file of settings (see server/settings.py)")
    for name in ("host", "port", "profile", "catalog", "cache-dir", "data-dir", "log-level", "log-format"):
        serving.add_argument(f"--{name}", default=argparse.SUPPRESS)
    demo = commands.add_parser("demo", help="make a small story video, end to end")
    demo.add_argument("--output", type=Path, default=Path("demo-output"))
    arguments = vars(parser.parse_args())
    command = arguments.pop("command")
    try:
        if command == "demo":
            from server.demo import run_demo

            sys.exit(run_demo(arguments["output"]))
        settings = read_settings(arguments.pop("config"), arguments)
        os.environ["MUYBRIDGE_LOG_LEVEL"] = settings.log_level  # models' processes log alike
        configure_logs(settings.log_level, settings.log_format)
        uvloop.run(serve(settings))
    except ConfigurationError as error:
        print(f"muybridge: {error}", file=sys.stderr)
        sys.exit(2)
