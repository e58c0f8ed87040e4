"""The `muybridge` command: finds its subcommands in `server/commands/` and runs one."""

import argparse
import pkgutil
import sys
from importlib import import_module

from server import commands


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="muybridge", description="Your own models through the OpenAI API.")
    subparsers = parser.add_subparsers(dest="command", required=True)
    for module in pkgutil.iter_modules(commands.__path__):
        import_module(f"{commands.__name__}.{module.name}").register(subparsers)
    return parser


def main() -> None:
    """Runs the command; exits 2 with one line for a wrong configuration, 1 for what an adapter says went wrong."""
    arguments = build_parser().parse_args()
    from adapters.configuration import ConfigurationError
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
