"""The `muybridge` command. It imports little, since engines import the main module in each process they start."""


def main() -> None:
    """Runs the command (`server/commands/main.py`)."""
    from server.commands import main as command

    command.main()


if __name__ == "__main__":
    main()
