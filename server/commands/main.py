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
    """Runs the command; exits 2 with one line for a wrong configuration, 1 for what an adapter says went wrong."""
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
