"""How well the video model keeps its keyframes, and moves as it is told."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLLTXVideo, LTXConditionPipeline
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition
from PIL import Image

from starter.clips import FRAMES, HINTS, MOTIONS, Clip, frame, frames, make_clip
from starter.training.images import random_scenes, to_tensor
from starter.world import SIZE

SEED = 79
STEPS, GUIDANCE, FPS = 12, 1.5, 24
"""As the catalog has them."""
SUBJECT_MOTIONS = ("left", "right", "up")
"""What counts as a direction; the clips are told apart from all other motions too."""


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB."""
    difference = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    return float(10 * np.log10(255**2 / max(1e-9, np.square(difference).mean())))


def detect_motion(clip: Clip, last: Image.Image) -> str:
    """The motion after which the clip's scene would look most like its last frame."""
    likeness = {motion: psnr(frame(Clip(clip.scene, motion), 1.0), last) for motion in MOTIONS}
    return max(likeness, key=lambda motion: likeness[motion])


def generate_clip(pipeline: LTXConditionPipeline, clip: Clip, indices: tuple[int, ...], seed: int) -> list[Image.Image]:
    """The clip that the model makes of these frames of the true one, and of its words."""
    keyframes = [LTXVideoCondition(image=frame(clip, index / (FRAMES - 1)), frame_index=index) for index in indices]
    words = clip.text(random.Random(seed))  # noqa: S311
    made: Any = pipeline(
        conditions=keyframes,
        prompt=words,
        width=SIZE,
        height=SIZE,
        num_frames=FRAMES,
        frame_rate=FPS,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        image_cond_noise_scale=0.025,
        generator=torch.Generator().manual_seed(seed),
        max_sequence_length=256,
    )
    return made.frames[0]


@torch.no_grad()
def reconstruction_psnr(autoencoder: AutoencoderKLLTXVideo, clip: Clip) -> tuple[float, float]:
    """How near the autoencoder alone brings a clip's first and last frame back, in dB: no denoiser gets nearer."""
    true = to_tensor(frames(clip)).transpose(0, 1)[None]
    made: Any = autoencoder.decode(autoencoder.encode(true).latent_dist.mean).sample.clamp(-1, 1)
    errors = (made - true)[0, :, [0, -1]].square().mean((0, 2, 3))
    first, last = (10 * torch.log10(4 / errors)).tolist()
    return first, last


def measure(checkpoint: Path, count: int) -> tuple[dict[str, str], list[Image.Image]]:
    """The figures by name, and five frames of each of the first clips.

    Args:
        checkpoint: The folder of the video model.
        count: Clips; of held-out scenes.
    """
    pipeline = LTXConditionPipeline.from_pretrained(str(checkpoint), dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    rng = random.Random(SEED)  # noqa: S311
    directions: list[bool] = []
    first: list[float] = []
    last: list[float] = []
    alone: list[tuple[float, float]] = []
    shown: list[Image.Image] = []
    for number, scene in enumerate(random_scenes(count, rng, held=True)):
        clip = make_clip(scene, rng.choice(SUBJECT_MOTIONS))
        made = generate_clip(pipeline, clip, (0,), SEED + number)
        directions.append(detect_motion(clip, made[-1]) == clip.motion)
        first.append(psnr(made[0], frame(clip, 0.0)))
        between = make_clip(scene, rng.choice(tuple(HINTS)))
        alone.append(reconstruction_psnr(pipeline.vae, between))
        last.append(psnr(generate_clip(pipeline, between, (0, FRAMES - 1), SEED + number)[-1], frame(between, 1.0)))
        shown += [made[index] for index in range(0, FRAMES, 6)]
    ceilings = [sum(one) / count for one in zip(*alone, strict=True)]
    figures = {
        "direction right": f"{100 * sum(directions) / count:.1f} % of {count}",
        "first frame to its keyframe": f"{sum(first) / count:.1f} dB, at least {min(first):.1f} dB",
        "last frame of a transition to its keyframe": f"{sum(last) / count:.1f} dB, at least {min(last):.1f} dB",
        "autoencoder alone": f"first frames {ceilings[0]:.1f} dB, last frames {ceilings[1]:.1f} dB",
    }
    return figures, shown
