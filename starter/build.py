"""Builds the starter checkpoints: `python -m starter.build [image|refiner|video|vision ...] [--out DIR]`.

Seeds are fixed and weights are drawn in float32 on the CPU: two builds on one machine give the same bytes.
"""

import argparse
import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

MODELS = ("image", "refiner", "video", "vision")
CHECKPOINTS = Path(__file__).parent / "checkpoints"


def build(name: str, out: Path) -> Path:
    """Builds one checkpoint and replaces what lay there.

    Args:
        name: One of `MODELS`.
        out: The folder that holds, or will hold, the checkpoint's folder.

    Returns:
        The checkpoint's folder.
    """
    disable_progress_bar()
    make: Callable[[Path], None] = import_module(f"starter.{name}").build
    folder, part = out / name, out / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    make(part)
    for file in part.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes 0600; another user may serve it.
    shutil.rmtree(folder, ignore_errors=True)
    return part.rename(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m starter.build", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="|".join(MODELS), help="which; all when none is named")
    parser.add_argument("--out", type=Path, default=CHECKPOINTS, help="where; default: starter/checkpoints")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.models) - set(MODELS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    for name in chosen.models or MODELS:
        folder = build(name, chosen.out)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
