"""Components that an SDXL base and its refiner share, so that they are kept in memory once."""

import filecmp
from pathlib import Path

COMPONENTS = ("vae", "text_encoder_2")
"""Components of the published refiner of Stable Diffusion XL that equal its base's byte for byte."""


def shared_components(base: Path, refiner: Path) -> tuple[str, ...]:
    """The names of components whose directories hold the same files with the same bytes in both checkpoints."""
    return tuple(name for name in COMPONENTS if _same_files(base / name, refiner / name))


def _same_files(one: Path, other: Path) -> bool:
    if not one.is_dir() or not other.is_dir():
        return False
    names = {path.name for path in one.iterdir()}
    if names != {path.name for path in other.iterdir()}:
        return False
    return not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])
