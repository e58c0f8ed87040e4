"""The table in docs/memory.md of what fits on which GPU, computed by the estimates and the judge of the server.

python scripts/card_table.py            # rewrites the table
python scripts/card_table.py --check    # exits 1 if the table is stale
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from adapters import hardware
from adapters.catalog.catalog import Catalog, load_catalog
from adapters.hardware import Device, Hardware
from adapters.memory.estimate import estimate_entry
from adapters.memory.placement import GIB, fitting_together, refusal, runs_on_cpu

CARDS_GIB = (8, 12, 16, 24, 48, 80)
USES_GIB = {"headless": 0.3, "desktop": 1.0}
"""What is in use before a model is loaded: by the driver alone, or by a desktop with a browser. Assumed."""
PROFILES = ("small", "studio")
RAM_GIB = 32


def machine(card_gib: float, used_gib: float) -> Hardware:
    """A machine with one GPU."""
    total = int(card_gib * GIB)
    card = Device("cuda", f"{card_gib:g} GB", total, total - int(used_gib * GIB), 0)
    ram = Device("cpu", "CPU", RAM_GIB * GIB, RAM_GIB * GIB)
    return Hardware((card, ram), 8, ram.total_bytes)


@contextmanager
def simulated(found: Hardware) -> Iterator[None]:
    """Makes this the hardware that estimates see."""
    with patch.object(hardware, "gpus", lambda: found.devices[:-1]), patch.object(hardware, "find", lambda: found):
        yield


def models(catalog: Catalog) -> list[str]:
    """The models of the catalog whose memory is known before a download and that use a GPU."""
    return [
        name
        for name, entry in catalog.models.items()
        if not entry.unusable and not runs_on_cpu(entry) and estimate_entry(entry, device="cuda")
    ]


def needs(catalog: Catalog, names: tuple[str, ...], found: Hardware) -> dict[str, int]:
    """Bytes of each model on the GPU of a machine."""
    with simulated(found):
        return {name: estimate_entry(catalog.models[name], device="cuda") for name in names}


def fits(catalog: Catalog, name: str, found: Hardware) -> bool:
    """Whether a model can be loaded on a machine."""
    return not refusal(name, catalog.models[name], needs(catalog, (name,), found)[name], found.budgets())


def together(catalog: Catalog, profile: str, found: Hardware) -> tuple[str, ...]:
    """The models of a profile that stay loaded side by side on the GPU; the others take turns with them."""
    on_gpu = tuple(name for name in catalog.profiles[profile].models if name in models(catalog))
    return fitting_together(needs(catalog, on_gpu, found), found.budgets()[0])


def table() -> str:
    """The tables in Markdown."""
    catalog = load_catalog()
    machines = {gib: [machine(gib, used) for used in USES_GIB.values()] for gib in CARDS_GIB}
    words = {(True, True): "yes", (True, False): "headless", (False, False): "-"}
    rows = [f"| model | GiB | {' | '.join(f'{gib} GB' for gib in CARDS_GIB)} |", f"|---|---|{'---|' * len(CARDS_GIB)}"]
    for name in models(catalog):
        size = needs(catalog, (name,), machines[24][0])[name] / GIB
        found = [words[tuple(fits(catalog, name, one) for one in pair)] for pair in machines.values()]
        rows.append(f"| {name} | {size:.1f} | {' | '.join(found)} |")
    rows += ["", "| GPU | loaded side by side, headless |", "|---|---|"]
    for profile in PROFILES:
        for gib, (headless, _) in machines.items():
            beside = together(catalog, profile, headless)
            if beside:
                rows.append(f"| {profile}, {gib} GB | {', '.join(beside)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    from generated_table import main

    sys.exit(main(Path(__file__).name, __doc__ or "", "memory.md", "cards", table))
