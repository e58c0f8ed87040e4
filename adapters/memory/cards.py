"""What fits on a GPU that this machine need not have: for the documentation, `models list --card`, and the profiles."""

from collections.abc import Mapping

from adapters.catalog.entries import Catalog
from adapters.hardware import Device, Hardware
from adapters.memory.estimate import estimate_entry
from adapters.memory.placement import GIB, fitting_together, refusal, runs_on_cpu

CARDS_GIB = (8, 12, 16, 24, 48, 80)
"""Sizes of GPUs for which the catalog has a profile."""
USES_GIB = {"headless": 0.3, "desktop": 1.0}
"""What is in use before a model is loaded: by the driver alone, or by a desktop with a browser. Assumed."""
RAM_GIB = 32


def recommended_profile(card_gib: float) -> str:
    """The profile of the catalog for a GPU of this size: that of the largest size which is not above it; "" if none."""
    sizes = [size for size in CARDS_GIB if size <= card_gib + 0.5]
    return f"gpu-{sizes[-1]}" if sizes else ""


def machine(card_gib: float, used_gib: float = USES_GIB["headless"]) -> Hardware:
    """A machine with one GPU."""
    total = int(card_gib * GIB)
    card = Device("cuda", f"{card_gib:g} GB", total, total - int(used_gib * GIB), 0)
    ram = Device("cpu", "CPU", RAM_GIB * GIB, RAM_GIB * GIB)
    return Hardware((card, ram), 8, ram.total_bytes)


def gpu_models(catalog: Catalog) -> tuple[str, ...]:
    """The models of the catalog whose memory is known before a download and that use a GPU."""
    return tuple(
        name
        for name, entry in catalog.models.items()
        if not entry.unusable and not runs_on_cpu(entry) and estimate_entry(entry, device="cuda")
    )


def needs(catalog: Catalog, names: tuple[str, ...], found: Hardware) -> Mapping[str, int]:
    """Bytes of each model on the GPU of a machine."""
    card = found.main.total_bytes
    return {name: estimate_entry(catalog.models[name], device="cuda", card_bytes=card) for name in names}


def fits(catalog: Catalog, name: str, found: Hardware) -> bool:
    """Whether a model can be loaded on a machine."""
    return not refusal(name, catalog.models[name], needs(catalog, (name,), found)[name], found.budgets())


def together(catalog: Catalog, profile: str, found: Hardware) -> tuple[str, ...]:
    """The models of a profile that stay loaded side by side on the GPU; the others take turns with them."""
    known = gpu_models(catalog)
    on_gpu = tuple(name for name in catalog.profiles[profile].models if name in known)
    return fitting_together(needs(catalog, on_gpu, found), found.budgets()[0])
