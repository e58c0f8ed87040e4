"""Fair shares: no caller may hold all places that many callers share."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar

CALLER: ContextVar[str] = ContextVar("caller", default="")
"""The caller that the current task works for: an API key's id, or a client's address where no keys are configured.
Empty: the server itself, which no share limits."""


class FairSlots:
    """A number of slots that callers share. Each caller may hold some of them; further requests wait.

    A slot that becomes free goes to the callers in turn, not to the one with the most waiting requests.
    """

    def __init__(self, slots: int, *, per_caller: int) -> None:
        """Sets how many slots there are, and how many of them one caller may hold."""
        self._free = slots
        self._per_caller = per_caller
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """Waits for a slot, and holds it for `CALLER` until the context ends."""
        caller = CALLER.get()
        granted = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(granted)
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._release(caller)
            else:
                self._forget(caller, granted)
            raise
        try:
            yield
        finally:
            self._release(caller)

    def _release(self, caller: str) -> None:
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        self._grant()

    def _grant(self) -> None:
        """Gives free slots to the callers in turn."""
        passed = 0
        while self._free and passed < len(self._waiting):
            caller, queue = next(iter(self._waiting.items()))
            del self._waiting[caller]
            if caller and self._held[caller] >= self._per_caller:
                self._waiting[caller] = queue
                passed += 1
                continue
            queue.popleft().set_result(None)
            if queue:
                self._waiting[caller] = queue  # at the end of the turn
            self._free -= 1
            self._held[caller] += 1
            passed = 0

    def _forget(self, caller: str, granted: asyncio.Future[None]) -> None:
        queue = self._waiting[caller]
        queue.remove(granted)
        if not queue:
            del self._waiting[caller]
