"""The table in docs/memory.md of what fits on which GPU, computed by the estimates and the judge of the server.

python scripts/card_table.py            # rewrites the table
python scripts/card_table.py --check    # exits 1 if the table is stale
"""

import sys
from pathlib import Path

from adapters.catalog.catalog import load_catalog
from adapters.memory.cards import CARDS_GIB, USES_GIB, fits, gpu_models, machine, needs, together
from adapters.memory.placement import GIB

PROFILES = ("small", "studio", *(f"gpu-{gib}" for gib in CARDS_GIB))


def table() -> str:
    """The tables in Markdown."""
    catalog = load_catalog()
    machines = {gib: [machine(gib, used) for used in USES_GIB.values()] for gib in CARDS_GIB}
    words = {(True, True): "yes", (True, False): "headless", (False, False): "-"}
    rows = [f"| model | GiB | {' | '.join(f'{gib} GB' for gib in CARDS_GIB)} |", f"|---|---|{'---|' * len(CARDS_GIB)}"]
    for name in gpu_models(catalog):
        size = needs(catalog, (name,), machines[24][0])[name] / GIB
        found = [words[tuple(fits(catalog, name, one) for one in pair)] for pair in machines.values()]
        rows.append(f"| {name} | {size:.1f} | {' | '.join(found)} |")
    rows += ["", "| GPU | loaded side by side, headless |", "|---|---|"]
    for profile in PROFILES:
        for gib, (headless, _) in machines.items():
            if profile.startswith("gpu-") and profile != f"gpu-{gib}":
                continue
            beside = together(catalog, profile, headless)
            if beside:
                rows.append(f"| {profile}, {gib} GB | {', '.join(beside)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    from generated_table import main

    sys.exit(main(Path(__file__).name, __doc__ or "", "memory.md", "cards", table))
