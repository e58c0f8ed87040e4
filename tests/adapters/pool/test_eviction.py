"""The policy of placement and eviction, by its properties."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from adapters.pool.eviction import DeviceMemory, Resident, choose_devices, plan

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


def on_one(budget: int, residents: list[Resident], pinned: int = 0) -> list[DeviceMemory]:
    return [DeviceMemory(None, budget, tuple(residents), pinned)]


@st.composite
def machines(draw: st.DrawFn) -> list[DeviceMemory]:
    """GPUs of any size, with models on one or several of them."""
    everyone = draw(residents)
    count = draw(st.integers(1, 4))
    places = {one.name: draw(st.sets(st.integers(0, count - 1), min_size=1)) for one in everyone}
    return [
        DeviceMemory(gpu, draw(st.integers(1, 300)), tuple(one for one in everyone if gpu in places[one.name]))
        for gpu in range(count)
    ]


def without(device: DeviceMemory, victims: tuple[str, ...]) -> int:
    return device.budget_bytes - sum(one.size_bytes for one in device.residents if one.name not in victims)


@given(needed=st.integers(1, 200), budget=st.integers(1, 400), residents=residents)
def test_a_plan_that_is_carried_out_makes_room_and_moves_nothing_it_need_not(
    needed: int, budget: int, residents: list[Resident]
) -> None:
    found = plan(needed, on_one(budget, residents))
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
    found = plan(needed, on_one(budget, residents))
    idle = sum(one.size_bytes for one in residents if one.evictable and not one.busy)
    if idle >= needed - (budget - sum(one.size_bytes for one in residents)):
        assert not any(one.busy for one in residents if one.name in found.victims)


def test_the_cheapest_to_bring_back_that_was_least_recently_used_goes_first() -> None:
    quick_old = Resident("quick and old", 10, idle_s=100, restore_s=1)
    quick_new = Resident("quick and new", 10, idle_s=1, restore_s=1)
    slow_old = Resident("slow and old", 10, idle_s=100, restore_s=60)
    everyone = [slow_old, quick_new, quick_old]
    assert plan(10, on_one(30, everyone)).victims == ("quick and old",)
    assert plan(20, on_one(30, everyone)).victims == ("quick and old", "slow and old")


def test_what_can_never_fit_is_told_at_once() -> None:
    assert not plan(31, on_one(30, [])).possible
    assert not plan(21, on_one(30, [Resident("pinned", 10, evictable=False)], pinned=10)).possible
    waiting = plan(21, on_one(30, [Resident("loading", 10, evictable=False)]))
    assert waiting.possible
    assert not waiting.victims


@given(needed=st.integers(1, 200), devices=machines(), data=st.data())
def test_a_placement_makes_room_on_each_of_its_devices_and_moves_nothing_it_need_not(
    needed: int, devices: list[DeviceMemory], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(devices)))
    found = choose_devices(needed, count, devices)
    chosen = [device for device in devices if device.index in found.devices]
    assert len(chosen) == count == len(set(found.devices))
    enough = sorted((device.budget_bytes for device in devices), reverse=True)[count - 1] >= needed
    assert found.plan.possible == enough, "some devices hold it, or none do"
    victims = found.plan.victims
    if found.plan.fits:
        assert not victims
    if found.plan.fits or victims:
        assert all(without(device, victims) >= needed for device in chosen)
    here = {one.name: one for device in chosen for one in device.residents}
    for name in victims:
        assert name in here, "nobody goes on other devices"
        assert here[name].evictable
        fewer = tuple(other for other in victims if other != name)
        assert any(without(device, fewer) < needed for device in chosen), "one more than needed"


@given(needed=st.integers(1, 200), devices=machines(), data=st.data())
def test_no_other_devices_would_have_been_better(needed: int, devices: list[DeviceMemory], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(devices)))
    best = choose_devices(needed, count, devices).plan
    for others in combinations(devices, count):
        other = plan(needed, others)
        assert best.possible or not other.possible
        assert best.fits or not other.fits
        if other.victims:
            assert best.fits or best.victims, "nobody waits who need not"
            assert (best.busy, best.cost) <= (other.busy, other.cost)


def test_models_spread_and_then_the_cheapest_one_goes() -> None:
    empty = [DeviceMemory(0, 20), DeviceMemory(1, 20)]
    assert choose_devices(15, 1, empty).devices == (0,)
    taken = [DeviceMemory(0, 20, (Resident("a", 15, idle_s=9, restore_s=1),)), DeviceMemory(1, 20)]
    assert choose_devices(5, 1, taken).devices == (1,)
    full = [taken[0], DeviceMemory(1, 20, (Resident("b", 15, idle_s=9, restore_s=60),))]
    assert choose_devices(15, 1, full).plan.victims == ("a",)
    busy = [DeviceMemory(0, 20, (Resident("a", 15, busy=True, idle_s=9, restore_s=1),)), full[1]]
    assert choose_devices(15, 1, busy).plan.victims == ("b",)
    loading = [DeviceMemory(0, 20, (Resident("a", 15, evictable=False),)), full[1]]
    assert choose_devices(15, 1, loading).plan.victims == ("b",)


def test_two_devices_are_freed_by_the_one_model_that_lies_on_both() -> None:
    wide = Resident("wide", 15, idle_s=9, restore_s=20)
    narrow = Resident("narrow", 4, idle_s=9, restore_s=10)
    devices = [DeviceMemory(0, 20, (wide, narrow)), DeviceMemory(1, 20, (wide,)), DeviceMemory(2, 10)]
    found = choose_devices(15, 2, devices)
    assert found.devices == (0, 1)
    assert found.plan.victims == ("wide",)
    assert not choose_devices(15, 3, devices).plan.possible
