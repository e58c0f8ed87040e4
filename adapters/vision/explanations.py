"""What both validators share: numbers as text that stay true, and whom to blame."""

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from adapters.base import TextAdapter
from adapters.errors import AdapterError, WrongModelKind

T = TypeVar("T")

UNSURE_BELOW = 0.5
"""Where the answers together get less than this of the model's probability, the explanation says so."""


def check_sees(adapter: TextAdapter) -> None:
    """Refuses a model without eyes.

    Raises:
        WrongModelKind: It has none.
    """
    if not adapter.supports_images:
        raise WrongModelKind("This model has no eyes. Choose one of kind vision.", param="model")


@contextmanager
def blaming(param: str) -> Generator[None]:
    """Errors within name the field that the images came in."""
    try:
        yield
    except AdapterError as error:
        if error.param in ("input", "messages"):
            error.param = param
        raise


async def all_of(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all; where one fails or the caller is cancelled, the others are given up."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def shown(value: float, threshold: float) -> str:
    """Two digits, or as many as it takes to stay on the true side of the threshold."""
    for digits in range(2, 9):
        text = f"{value:.{digits}f}"
        if (float(text) >= threshold) == (value >= threshold):
            return text
    return repr(value)


def doubt(mass: float) -> str:
    """A sentence for answers that the model hardly meant to give; else nothing."""
    if mass >= UNSURE_BELOW:
        return ""
    return (
        f"The model hardly meant to answer: yes and no together had {mass:.2g} of its probability, so all of this "
        "says little."
    )
