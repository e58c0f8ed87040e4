"""Helpers of both checks: error handling, and sentences for the explanations."""

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from adapters.base import TextAdapter
from adapters.errors import AdapterError, WrongModelKind

T = TypeVar("T")

UNSURE_BELOW = 0.5
"""The explanation has a note if the answers' total probability is lower than this."""


def check_supports_images(adapter: TextAdapter) -> None:
    """Checks that a model supports images.

    Raises:
        WrongModelKind: It does not.
    """
    if not adapter.supports_images:
        raise WrongModelKind("This model does not support images. Choose a model of kind vision.", param="model")


@contextmanager
def naming_param(param: str) -> Generator[None]:
    """Makes errors name the request's field that contains the images."""
    try:
        yield
    except AdapterError as error:
        if error.param in ("input", "messages"):
            error.param = param
        raise


async def gather_or_cancel(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all coroutines; if one fails or the caller is cancelled, the others are cancelled."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def format_score(value: float, threshold: float) -> str:
    """The value with two digits, or more if rounding would move it across the threshold."""
    for digits in range(2, 9):
        text = f"{value:.{digits}f}"
        if (float(text) >= threshold) == (value >= threshold):
            return text
    return repr(value)


def uncertainty_note(mass: float) -> str:
    """A sentence if the answers had little of the model's probability; else ""."""
    if mass >= UNSURE_BELOW:
        return ""
    return f"The result is unreliable: the model gave yes and no together a probability of only {mass:.2g}."
