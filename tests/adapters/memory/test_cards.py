"""What fits on GPUs of all sizes: the table of the docs, the interface specification's rows, and the pool."""

import subprocess
import sys

import pytest
from support.nvml import Card
from support.nvml import simulated as simulated_nvml
from support.servers import ROOT

from adapters import hardware
from adapters.catalog.catalog import load_catalog
from adapters.errors import OutOfMemory
from adapters.memory import cards
from adapters.memory.estimate import device_of, estimate_entry
from adapters.memory.placement import refusal, runs_on_cpu, spare_bytes
from adapters.pool.admission import Admission
from adapters.pool.slot import Slot

CATALOG = load_catalog()


def test_the_table_of_cards_is_fresh() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/card_table.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


# The GPUs of "System Requirements by Model" in docs/interface-specification.md, with their memory; RTX 3060: 12 GB,
# 3060 Ti: 8 GB, 3090 and 4090: 24 GB. Where its GPU is smaller than its figure for float16, 4 bit is meant.
@pytest.mark.parametrize(
    ("model", "card_gib"),
    [
        ("whisper-large-v3", 12),
        ("qwen2.5-14b-instruct-awq", 24),
        ("llama-3.1-8b-instruct-awq", 8),
        ("llava-onevision-7b", 24),
        ("sdxl", 24),
        ("sdxl-refined", 24),
        ("ltx-video", 24),
    ],
)
def test_the_specifications_gpus_hold_its_models(model: str, card_gib: int) -> None:
    assert cards.fits(CATALOG, model, cards.machine(card_gib, cards.USES_GIB["headless"]))


def test_the_specifications_eighth_row_needs_no_more_than_its_gpu() -> None:
    # Phi-3.5-vision cannot be served, since it needs code of its repository; its estimate is known.
    entry = CATALOG.models["phi-3.5-vision"].model_copy(update={"options": {"min_kv_cache_gib": 1}})
    found = cards.machine(12, cards.USES_GIB["headless"])
    assert refusal("phi-3.5-vision", entry, estimate_entry(entry, device="cuda"), found.budgets()) == ""


@pytest.mark.parametrize("used", ["headless", "desktop"])
@pytest.mark.parametrize("card_gib", [8, 12, 16, 24, 48, 80])
async def test_the_pool_judges_as_the_table_does(card_gib: int, used: str) -> None:
    with simulated_nvml(Card(card_gib, cards.USES_GIB[used])):
        found = hardware.find()
        assert found.budgets()[0] == cards.machine(card_gib, cards.USES_GIB[used]).budgets()[0]
        for name in cards.gpu_models(CATALOG):
            entry = CATALOG.models[name]
            slot = Slot(name, entry)
            admission = Admission(found.budgets(), [slot], evict=never, grace_s=1)
            needed = estimate_entry(entry, device=device_of(entry))
            if cards.fits(CATALOG, name, cards.machine(card_gib, cards.USES_GIB[used])):
                await admission.reserve(slot, needed)
            else:
                with pytest.raises(OutOfMemory) as refused:
                    await admission.reserve(slot, needed)
                assert refused.value.message == refusal(name, entry, needed, found.budgets())


async def never(slot: Slot) -> None:
    raise AssertionError(f"{slot.name} must not be evicted")


def test_a_seven_billion_model_in_4_bit_fits_8_gb_beside_a_desktop() -> None:
    assert cards.fits(CATALOG, "qwen2.5-7b-instruct-awq", cards.machine(8, cards.USES_GIB["desktop"]))


@pytest.mark.parametrize("budgets", [{0: 100, None: 2 * 2**30}, {None: 2 * 2**30}])
async def test_a_voice_that_runs_on_the_cpu_is_not_charged_to_a_gpu(budgets: dict[int | None, int]) -> None:
    entry = CATALOG.models["kokoro-82m"]
    slot = Slot("kokoro-82m", entry)
    admission = Admission(budgets, [slot], evict=never, grace_s=1)
    with simulated_nvml(Card(24)):
        assert device_of(entry) == "cpu"
        await admission.reserve(slot, estimate_entry(entry, device=device_of(entry)))
    assert slot.devices == (None,)
    assert refusal("kokoro-82m", entry, slot.reserved_bytes, budgets) == ""


def test_a_cache_may_grow_only_beside_all_models_of_the_profile() -> None:
    entries = {name: CATALOG.models[name] for name in ("qwen2.5-14b-instruct", "sdxl", "kokoro-82m")}
    needs = {"qwen2.5-14b-instruct": 30, "sdxl": 10, "kokoro-82m": 50}
    assert spare_bytes("qwen2.5-14b-instruct", entries, needs, (0,), {0: 60, None: 100}) == 20
    assert spare_bytes("qwen2.5-14b-instruct", entries, needs, (0,), {0: 35, None: 100}) == 0
    assert spare_bytes("qwen2.5-14b-instruct", entries, {**needs, "sdxl": 0}, (0,), {0: 60, None: 100}) == 0


@pytest.mark.parametrize("card_gib", cards.CARDS_GIB)
def test_each_model_of_a_recommended_profile_fits_its_card_alone(card_gib: int) -> None:
    profile = CATALOG.profile(cards.recommended_profile(card_gib))
    machine = cards.machine(card_gib)
    known = cards.gpu_models(CATALOG)
    for name in profile.models:
        if name in known:
            assert cards.fits(CATALOG, name, machine), name
        else:
            assert runs_on_cpu(CATALOG.models[name]), f"{name}: its memory must be known"
    kinds = {CATALOG.models[name].kind for name in profile.models}
    assert kinds >= {"text", "vision", "speech", "voice", "embedding"}
    assert ("image" in kinds) == (card_gib >= 12)
    assert ("video" in kinds) == (card_gib >= 24)


@pytest.mark.parametrize(("gib", "profile"), [(7, ""), (7.8, "gpu-8"), (11.6, "gpu-12"), (23.7, "gpu-24"), (32, "gpu-24"),
                                              (141, "gpu-80")])  # fmt: skip
def test_a_card_between_two_sizes_gets_the_smaller_ones_profile(gib: float, profile: str) -> None:
    assert cards.recommended_profile(gib) == profile
