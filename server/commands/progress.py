"""What commands print: progress bars, and JSON."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.base import LoadProgress


@contextmanager
def bars(name: str, *, quiet: bool) -> "Generator[Callable[[LoadProgress], None]]":
    """Progress bars on standard error, one per stage, with sizes if they are known."""
    if quiet:
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from adapters.loader.cache import gigabytes

    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[share]}"), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(progress: "LoadProgress") -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(f"{name}: {progress.stage}", total=None, share="")
            task, fraction, done, total = (
                tasks[progress.stage],
                progress.fraction,
                progress.done_bytes,
                progress.total_bytes,
            )
            if total is not None:
                bars.update(
                    task, completed=done or 0, total=total, share=f"{gigabytes(done or 0)} of {gigabytes(total)}"
                )
            elif fraction is not None:
                bars.update(task, completed=fraction, total=1, share=f"{fraction:.0%}")

        yield report


def to_json(document: Any) -> int:
    """Prints a document; a list as an object with the list as `data`. The exit status."""
    print(json.dumps({"object": "list", "data": document} if isinstance(document, list) else document, indent=2))
    return 0
