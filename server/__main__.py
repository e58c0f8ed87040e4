"""The `muybridge` command. Light on purpose: engines that start processes import the main module in each of them."""


def main() -> None:
    """Runs the command (`server/commands/main.py`)."""
    from server.commands import main as command

    command.main()


if __name__ == "__main__":
    main()
