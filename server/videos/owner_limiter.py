"""A limit on how many requests of one owner are read at the same time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class OwnerLimiter:
    """Gives each owner a number of slots; further requests of that owner wait before their bodies are read.

    The text fields of a body, and images in them, are in memory until the job has stored them as files.
    """

    def __init__(self, slots: int) -> None:
        """Sets the number of slots per owner."""
        self._slots = slots
        self._owners: dict[str, tuple[asyncio.Semaphore, int]] = {}
        """Per owner: the semaphore, and how many requests hold or wait for it."""

    @asynccontextmanager
    async def slot(self, owner: str) -> AsyncGenerator[None]:
        """Waits for a slot of this owner, and holds it until the context ends."""
        semaphore, users = self._owners.get(owner, (asyncio.Semaphore(self._slots), 0))
        self._owners[owner] = semaphore, users + 1
        try:
            async with semaphore:
                yield
        finally:
            semaphore, users = self._owners[owner]
            if users > 1:
                self._owners[owner] = semaphore, users - 1
            else:
                del self._owners[owner]
