"""G5 on this machine: single image requests at once against the same requests one after another.

    python benchmarks/images.py [--rounds 5] [--requests 8] [--steps 12]

Both sides draw the starter's images with the same adapter, in turns; the images must be equal to the byte. What is
compared is CPU time, because machines are shared: on a CPU a batch saves the work of starting kernels, and no more.
The third column runs batches whose products see all rows at once (`exact_batches: false`): faster, and no longer equal.
"""

import argparse
import asyncio
import statistics
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from adapters.base import GeneratedImage, ImageRequest, ModelFiles  # noqa: E402
from adapters.image.diffusers_image import DiffusersImage  # noqa: E402

GOAL = 1.6


async def one(model: DiffusersImage, number: int, steps: int) -> bytes:
    """The image of one request."""
    request = ImageRequest(
        f"a red fox in the forest, number {number}", width=128, height=128, num_inference_steps=steps,
        guidance_scale=3.0, seed=number,
    )  # fmt: skip
    return next(event.image.data async for event in model.generate(request) if isinstance(event, GeneratedImage))


async def main() -> None:
    """Prints a line a round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    asked = parser.parse_args()
    checkpoint = str(ROOT / "starter" / "checkpoints" / "image")

    async def model(**options: object) -> DiffusersImage:
        files = ModelFiles("bench", "diffusers-image", checkpoint, {"batch_size": asked.requests, **options})
        return await DiffusersImage.load(files, lambda _: None)

    exact, loose = await model(), await model(exact_batches=False)
    numbers = range(asked.requests)
    ratios: dict[str, list[float]] = {"exact": [], "loose": []}
    for lap in range(asked.rounds + 1):  # the first warms up
        begun = time.process_time()
        alone = [await one(exact, number, asked.steps) for number in numbers]
        alone_s = time.process_time() - begun
        for name, drawer in (("exact", exact), ("loose", loose)):
            begun = time.process_time()
            together = await asyncio.gather(*(one(drawer, number, asked.steps) for number in numbers))
            spent_s = time.process_time() - begun
            if name == "exact" and list(together) != alone:
                raise SystemExit("an image generated in a batch differs from the image generated alone")
            if lap:
                ratios[name].append(alone_s / spent_s)
        if lap:
            print(f"round {lap}: exact {ratios['exact'][-1]:.2f}x, loose {ratios['loose'][-1]:.2f}x")
    for name, found in ratios.items():
        middle = statistics.median(found)
        print(f"{name:>6}: {middle:.2f}x ({min(found):.2f}..{max(found):.2f}), goal G5 {GOAL}x (on a GPU)")
    await exact.unload()
    await loose.unload()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main())
