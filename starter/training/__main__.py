"""`python -m starter.training STAGE [STAGE ...]`: trains stages one after the other; what is done is not done again."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch

from starter.build import CHECKPOINTS
from starter.training.loop import Run

RUNS = Path(__file__).parent / "runs"
STAGES = {
    "oracle": "starter.training.oracle:OracleStage",
    "image_vae": "starter.training.image_vae:ImageVae",
    "image_unet": "starter.training.image_unet:ImageUnet",
    "image_lora": "starter.training.image_lora:ImageLora",
    "image_refiner": "starter.training.image_refiner:ImageRefiner",
    "vision": "starter.training.vision:Vision",
    "video_vae": "starter.training.video_vae:VideoVae",
    "video_decoder": "starter.training.video_decoder:VideoDecoder",
    "video_film": "starter.training.video_film:VideoFilm",
}
"""In an order in which each finds what it needs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m starter.training", description=__doc__)
    names = (*STAGES, "all")
    parser.add_argument("stages", nargs="+", metavar="STAGE", choices=names, help=" | ".join(names))
    parser.add_argument("--steps", type=int, help="how many; default: as the stage says")
    parser.add_argument("--runs", type=Path, default=RUNS, help="the folder of the runs")
    parser.add_argument("--warm", type=int, metavar="STEP", help="begin with the exported checkpoint, at this step")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; more wait for each other where others work")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    for name in STAGES if "all" in chosen.stages else chosen.stages:
        module, _, stage = STAGES[name].partition(":")
        made = getattr(import_module(module), stage)
        warm = None if chosen.warm is None else (CHECKPOINTS, chosen.warm)
        run = Run(made(chosen.runs), chosen.runs / name, chosen.steps, chosen.device, warm)
        print(f"{name}: step {run.step} of {run.steps}", flush=True)
        if run.step < run.steps and not run.train():
            print(f"{name}: stopped at step {run.step}; the same command goes on", flush=True)
            sys.exit(1)


if __name__ == "__main__":
    main()
