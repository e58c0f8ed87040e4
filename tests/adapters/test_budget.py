"""The policy of eviction, by its properties."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.budget import Resident, plan

residents = st.lists(
    st.builds(
        Resident,
        name=st.uuids().map(str),
        size_bytes=st.integers(1, 100),
        busy=st.booleans(),
        evictable=st.booleans(),
        idle_s=st.floats(0, 1e6),
        restore_s=st.floats(0, 1e3),
    ),
    max_size=8,
)


@given(needed=st.integers(1, 200), budget=st.integers(1, 400), residents=residents)
def test_a_plan_that_is_carried_out_makes_room_and_moves_nothing_it_need_not(
    needed: int, budget: int, residents: list[Resident]
) -> None:
    found = plan(needed, budget, residents)
    sizes = {one.name: one.size_bytes for one in residents}
    free = budget - sum(sizes.values())
    assert found.possible == (needed <= budget)
    if found.fits:
        assert needed <= free
        assert not found.victims
    for name in found.victims:
        assert next(one for one in residents if one.name == name).evictable
    if found.victims:
        gained = sum(sizes[name] for name in found.victims)
        assert free + gained >= needed
        for name in found.victims:
            assert free + gained - sizes[name] < needed, "one more than needed"


@given(needed=st.integers(1, 200), budget=st.integers(1, 400), residents=residents)
def test_a_busy_model_goes_only_when_all_idle_ones_do_not_suffice(
    needed: int, budget: int, residents: list[Resident]
) -> None:
    found = plan(needed, budget, residents)
    idle = sum(one.size_bytes for one in residents if one.evictable and not one.busy)
    if idle >= needed - (budget - sum(one.size_bytes for one in residents)):
        assert not any(one.busy for one in residents if one.name in found.victims)


def test_the_cheapest_to_bring_back_that_was_least_recently_used_goes_first() -> None:
    quick_old = Resident("quick and old", 10, idle_s=100, restore_s=1)
    quick_new = Resident("quick and new", 10, idle_s=1, restore_s=1)
    slow_old = Resident("slow and old", 10, idle_s=100, restore_s=60)
    everyone = [slow_old, quick_new, quick_old]
    assert plan(10, 30, everyone).victims == ("quick and old",)
    assert plan(20, 30, everyone).victims == ("quick and old", "slow and old")


def test_what_can_never_fit_is_told_at_once() -> None:
    assert not plan(31, 30, []).possible
    assert not plan(21, 30, [Resident("pinned", 10, evictable=False)], pinned_bytes=10).possible
    waiting = plan(21, 30, [Resident("loading", 10, evictable=False)])
    assert waiting.possible
    assert not waiting.victims
