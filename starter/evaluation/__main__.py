"""How good the checkpoints are: `python -m starter.evaluation [image|vision ...]`; `--write` keeps it for the cards."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from starter.build import CHECKPOINTS
from starter.evaluation import images, visions
from starter.training.pictures import sheet

SCORES = Path(__file__).with_name("scores.json")
MODELS = ("image", "vision")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m starter.evaluation", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="|".join(MODELS), help="which; all when none is named")
    parser.add_argument("--count", type=int, default=200, help="prompts, and pictures that are asked about")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS)
    parser.add_argument("--sheet", type=Path, help="where to leave a PNG of the first 40 pictures")
    parser.add_argument("--write", action="store_true", help="keep the figures, for the model cards")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: as torch likes")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.models) - set(MODELS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    scores: dict[str, dict[str, str]] = json.loads(SCORES.read_text()) if SCORES.is_file() else {}
    measures: dict[str, Callable[[Path], dict[str, str]]] = {
        "image": lambda folder: _image(folder, chosen.count, chosen.sheet),
        "vision": lambda folder: visions.run(folder, chosen.count),
    }
    for name in chosen.models or MODELS:
        scores[name] = measures[name](chosen.checkpoints / name)
        print(f"{name}:")
        for figure, value in scores[name].items():
            print(f"  {figure:55} {value}")
    if chosen.write:
        SCORES.write_text(json.dumps(scores, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _image(folder: Path, count: int, path: Path | None) -> dict[str, str]:
    figures, made = images.measure(folder, count)
    if path:
        sheet([picture for _, picture in made[:40]], 8).save(path)
    return figures


if __name__ == "__main__":
    main()
