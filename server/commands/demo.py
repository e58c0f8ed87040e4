"""`muybridge demo`."""

import argparse
import os
from pathlib import Path

from server.commands.arguments import Subparsers


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("demo", help="make a small story video, end to end")
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    parser.add_argument("--profile", default="starter", help="whose models make it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo.

    Raises:
        ConfigurationError: The profile does not exist.
        ModelLoadFailed: A package that the demo needs is not installed.
    """
    from adapters.catalog.catalog import load_catalog
    from adapters.errors import ModelLoadFailed
    from adapters.registry import missing, not_installed
    from server.commands.demo_server import run_demo

    own = os.environ.get("MUYBRIDGE_CATALOG")
    catalog = load_catalog(Path(own) if own else None)
    for name in catalog.profile(arguments.profile).models:
        if absent := missing(catalog.models[name].backend):
            raise ModelLoadFailed(absent)
    if absent := not_installed(("openai",)):
        raise ModelLoadFailed(absent)
    return run_demo(arguments.output, arguments.profile)
