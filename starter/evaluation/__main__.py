"""Prints how good the checkpoints are: `python -m starter.evaluation [image|refiner|video|vision ...]`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers.utils import logging

from starter.build import CHECKPOINTS, MODELS
from starter.evaluation import images, refiner, videos, vision
from starter.training.images import sheet

SCORES = Path(__file__).with_name("scores.json")
COUNTS = {"image": 200, "refiner": 100, "video": 40, "vision": 200}
"""Prompts, clips, and images that are asked about."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m starter.evaluation", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="|".join(MODELS), help="which; all when none is named")
    parser.add_argument("--count", type=int, help=f"how many scenes; default: {COUNTS}")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS)
    parser.add_argument("--sheets", type=Path, help="a folder, for PNGs of what was drawn and filmed")
    parser.add_argument("--write", action="store_true", help="keep the figures, for the model cards")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: as torch likes")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.models) - set(MODELS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    logging.set_verbosity_error()  # Else each clip says that timesteps came without sigmas: the pipeline's own.
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    scores: dict[str, dict[str, str]] = json.loads(SCORES.read_text()) if SCORES.is_file() else {}
    for name in chosen.models or MODELS:
        folder: Path = chosen.checkpoints / name
        print(f"{name}:", flush=True)
        if "UNTRAINED" in (folder / "README.md").read_text(encoding="utf-8"):
            print("  untrained: nothing to measure")
            continue
        scores[name] = measure(name, folder, chosen.count or COUNTS[name], chosen.sheets)
        for figure, value in scores[name].items():
            print(f"  {figure:55} {value}", flush=True)
    if chosen.write:
        SCORES.write_text(json.dumps(scores, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def measure(name: str, folder: Path, count: int, sheets: Path | None) -> dict[str, str]:
    """One model's figures; leaves its contact sheet in a folder where one is given."""
    if sheets:
        sheets.mkdir(parents=True, exist_ok=True)
    if name == "vision":
        return vision.run(folder, count)
    if name == "video":
        figures, pictures = videos.measure(folder, count)
        pictures, columns = pictures[:40], 5
    elif name == "refiner":
        figures, pictures = refiner.measure(folder, folder.parent / "image", count)
        pictures, columns = pictures[:40], 8
    else:
        figures, made = images.measure(folder, count)
        pictures, columns = [image for _, image in made[:40]], 8
    if sheets:
        sheet(pictures, columns).save(sheets / f"{name}.png")
    return figures


if __name__ == "__main__":
    main()
