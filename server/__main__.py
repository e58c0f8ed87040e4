"""The `muybridge` command. Light on purpose: engines that start processes import the main module in each of them."""


def main() -> None:
    """Runs the command (`server/command.py`)."""
    from server import command

    command.main()


if __name__ == "__main__":
    main()
