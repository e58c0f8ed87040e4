"""`muybridge demo`."""

import argparse
from pathlib import Path

from server.commands.arguments import Subparsers


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("demo", help="make a small story video, end to end")
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Makes the demo's story."""
    from server.commands.demo_server import run_demo

    return run_demo(arguments.output)
