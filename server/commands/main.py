"""The `muybridge` command line: parses it and runs one of the subcommands."""

import argparse
import sys
from importlib import import_module

COMMANDS = ("serve", "demo", "models", "config", "doctor", "install")
"""Modules of this folder that are subcommands, in the order of `muybridge --help`."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="muybridge", description="Your own models through the OpenAI API.")
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        import_module(f"server.commands.{name}").register(subparsers)
    return parser


def main() -> None:
    """Runs the command. The exit status is 2 for configuration errors and 1 for errors of adapters."""
    arguments = build_parser().parse_args()
    from adapters.catalog.catalog import ConfigurationError
    from adapters.errors import AdapterError

    try:
        sys.exit(arguments.run(arguments))
    except ConfigurationError as error:
        print(f"muybridge: {error}", file=sys.stderr)
        sys.exit(2)
    except AdapterError as error:
        print(f"muybridge: {error.message}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
