"""Where a model goes, and which others must go so that it fits: one budget of bytes for each device.

Decided by pure functions without a clock or a lock. `adapters/pool/pool.py` asks, and does what is answered.
Property tests are in `tests/adapters/pool/test_eviction.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

Place = int | None
"""A GPU, by the number that nvidia-smi gives it; None: the CPU, whose memory is RAM."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that holds memory now."""

    name: str
    size_bytes: int
    """On each of its devices."""
    busy: bool = False
    """Somebody uses it, or waits for it and will use it in a moment."""
    evictable: bool = True
    """False while it is pinned, loading or already on its way out."""
    idle_s: float = 0.0
    """Seconds since it was last used."""
    restore_s: float = 1.0
    """What loading it anew takes."""

    @property
    def cost(self) -> float:
        """What its return costs, for the time that nobody has missed it."""
        return max(self.restore_s, 1e-3) / max(self.idle_s, 1e-9)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The memory of one device, and what holds it."""

    place: Place
    budget_bytes: int
    """Of all models on it together."""
    residents: tuple[Resident, ...] = ()
    """Those that hold some of it. A model on several devices is in the ledger of each."""
    pinned_bytes: int = 0
    """Of residents that may never go."""

    @property
    def free_bytes(self) -> int:
        """What nobody holds."""
        return self.budget_bytes - sum(one.size_bytes for one in self.residents)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for a model that wants memory."""

    fits: bool
    """Whether it fits beside what is there, with nothing to do."""
    victims: tuple[str, ...] = ()
    """Otherwise: models to unload, in this order. Empty: wait for what is in motion."""
    possible: bool = True
    """False: it cannot fit however long one waits, because what may not be moved leaves too little."""
    busy: bool = False
    """Whether a victim is in use."""
    cost: float = 0.0
    """Of all victims' return."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model goes, and what is to be done for it there."""

    places: tuple[Place, ...]
    plan: Plan


def place(needed_bytes: int, count: int, ledgers: Sequence[Ledger]) -> Placement:
    """The devices for a model: where it fits with the least that others must give up.

    Where it fits beside what is there, before where idle models must go, before where busy ones must, before where one
    can only wait. Among equals the cheapest victims, then the most room that is left: models spread.

    Args:
        needed_bytes: On each of its devices.
        count: Devices that share it.
        ledgers: Those that it may live on; at least `count`.
    """

    def rank(choice: Sequence[Ledger], found: Plan) -> tuple[bool, bool, bool, bool, float, int]:
        waits = not found.fits and not found.victims
        room = min(_without(ledger, found.victims).free_bytes for ledger in choice)
        return not found.possible, waits, found.busy, not found.fits, found.cost, -room

    choices = [(choice, plan(needed_bytes, choice)) for choice in combinations(ledgers, count)]
    choice, found = min(choices, key=lambda one: rank(*one))
    return Placement(tuple(ledger.place for ledger in choice), found)


def plan(needed_bytes: int, ledgers: Sequence[Ledger]) -> Plan:
    """How to make room for `needed_bytes` on every one of some devices.

    Idle models go before busy ones. Among equals, the one goes first whose return is cheapest for the time that nobody
    has missed it: the highest ratio of idle to loading time, in the spirit of GreedyDual-Size for caches of unequal
    costs (Cao and Irani, 1997). Then those are spared that turn out not to be needed, the dearest first.

    Args:
        needed_bytes: Of the model that wants in, on each of the devices.
        ledgers: The devices.
    """
    if any(needed_bytes > ledger.budget_bytes - ledger.pinned_bytes for ledger in ledgers):
        return Plan(fits=False, possible=False)
    short = [ledger for ledger in ledgers if ledger.free_bytes < needed_bytes]
    if not short:
        return Plan(fits=True)
    chosen: list[Resident] = []
    candidates = {one.name: one for ledger in short for one in ledger.residents if one.evictable}
    for one in sorted(candidates.values(), key=lambda one: (one.busy, one.cost)):
        missing = [ledger for ledger in short if not _enough(needed_bytes, ledger, chosen)]
        if not missing:
            break
        if any(one.name == other.name for ledger in missing for other in ledger.residents):
            chosen.append(one)
    if not all(_enough(needed_bytes, ledger, chosen) for ledger in short):
        return Plan(fits=False)  # some is in motion, and will have moved when this is asked again
    for one in reversed(chosen):
        fewer = [other for other in chosen if other is not one]
        if all(_enough(needed_bytes, ledger, fewer) for ledger in short):
            chosen = fewer
    return Plan(
        fits=False,
        victims=tuple(one.name for one in chosen),
        busy=any(one.busy for one in chosen),
        cost=sum(one.cost for one in chosen),
    )


def _enough(needed_bytes: int, ledger: Ledger, victims: Sequence[Resident]) -> bool:
    return _without(ledger, [one.name for one in victims]).free_bytes >= needed_bytes


def _without(ledger: Ledger, victims: Sequence[str]) -> Ledger:
    staying = tuple(one for one in ledger.residents if one.name not in victims)
    return Ledger(ledger.place, ledger.budget_bytes, staying, ledger.pinned_bytes)
