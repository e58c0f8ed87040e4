"""Which models must go so that another fits: one budget of bytes, decided by pure functions without a clock or a lock.

`adapters/pool.py` asks, and does what is answered. Property tests are in `tests/adapters/test_budget.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that holds memory now."""

    name: str
    size_bytes: int
    busy: bool = False
    """Somebody uses it, or waits for it and will use it in a moment."""
    evictable: bool = True
    """False while it is pinned, loading or already on its way out."""
    idle_s: float = 0.0
    """Seconds since it was last used."""
    restore_s: float = 1.0
    """What loading it anew takes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for a model that wants memory."""

    fits: bool
    """Whether it fits beside what is there, with nothing to do."""
    victims: tuple[str, ...] = ()
    """Otherwise: models to unload, in this order. Empty: wait for what is in motion."""
    possible: bool = True
    """False: it cannot fit however long one waits, because what may not be moved leaves too little."""


def plan(needed_bytes: int, budget_bytes: int, residents: Sequence[Resident], pinned_bytes: int = 0) -> Plan:
    """How to make room for `needed_bytes`.

    Idle models go before busy ones. Among equals, the one goes first whose return is cheapest for the time that nobody
    has missed it: the highest ratio of idle to loading time, in the spirit of GreedyDual-Size for caches of unequal
    costs (Cao and Irani, 1997). Then those are spared that turn out not to be needed, the dearest first.

    Args:
        needed_bytes: Of the model that wants in.
        budget_bytes: Of all models together.
        residents: Those that hold memory now.
        pinned_bytes: Of residents that may never go.
    """
    if needed_bytes > budget_bytes - pinned_bytes:
        return Plan(fits=False, possible=False)
    missing = needed_bytes - (budget_bytes - sum(one.size_bytes for one in residents))
    if missing <= 0:
        return Plan(fits=True)
    chosen: list[Resident] = []
    for one in sorted((one for one in residents if one.evictable), key=_worth):
        if sum(victim.size_bytes for victim in chosen) >= missing:
            break
        chosen.append(one)
    if sum(victim.size_bytes for victim in chosen) < missing:
        return Plan(fits=False)  # some is in motion, and will have moved when this is asked again
    for one in reversed(chosen):
        if sum(victim.size_bytes for victim in chosen) - one.size_bytes >= missing:
            chosen.remove(one)
    return Plan(fits=False, victims=tuple(victim.name for victim in chosen))


def _worth(one: Resident) -> tuple[bool, float]:
    return one.busy, -one.idle_s / max(one.restore_s, 1e-3)
