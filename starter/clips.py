"""Moves scenes: short clips in which one thing happens, and the words that ask for it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from starter.captions import caption, full_caption
from starter.drawing import draw
from starter.world import SIZE, Scene

FRAMES = 25
DRIFT = 36.0
"""How far a subject moves in a clip, in pixels."""
ZOOM = 1.45
"""How much larger everything is after a zoom or a pan."""
HINTS: Mapping[str, Sequence[str]] = {
    "still": ("nothing moves", "it stands still"),
    "left": ("it drifts to the left", "drifting left", "it slowly moves to the left"),
    "right": ("it drifts to the right", "drifting right", "it slowly moves to the right"),
    "up": ("it rises", "it moves up", "it drifts up into the sky"),
    "zoom": ("the camera zooms in", "slow zoom in", "the camera moves closer"),
    "pan left": ("the camera pans to the left", "camera pan left"),
    "pan right": ("the camera pans to the right", "camera pan right"),
    "nightfall": ("day turns to night", "night falls", "it becomes night"),
}
"""Motion hints by motion."""
MOTIONS = tuple(HINTS)


@dataclass(frozen=True)
class Clip:
    """A scene, as the first frame shows it, and what happens."""

    scene: Scene
    motion: str
    """One of `MOTIONS`."""

    def text(self, rng: random.Random) -> str:
        """A caption and a motion hint, joined as `compat.videos.create` joins a prompt and its `motion_hint`."""
        hint = rng.choice(HINTS[self.motion])
        text = full_caption(self.scene) if rng.random() < 0.3 else caption(self.scene, rng).text
        return f"{text} {hint}"


def make_clip(scene: Scene, motion: str) -> Clip:
    """A clip that begins where the motion has room, and by day where night is to fall."""
    if motion in ("left", "right"):
        start = DRIFT / 2 if motion == "left" else -DRIFT / 2
        scene = replace(scene, x=start + scene.x / 2)
    elif motion == "up":
        scene = replace(scene, scale=min(scene.scale, 0.9))
    elif motion == "nightfall":
        scene = replace(scene, time="day")
    return Clip(scene, motion)


def frame(clip: Clip, moment: float) -> Image.Image:
    """The image at a moment of the clip, 0 at its beginning and 1 at its end."""
    scene = clip.scene
    match clip.motion:
        case "left" | "right":
            way = -DRIFT if clip.motion == "left" else DRIFT
            return draw(replace(scene, x=scene.x + way * moment))
        case "up":
            return draw(replace(scene, y=scene.y - DRIFT * moment))
        case "zoom" | "pan left" | "pan right":
            return _closer(draw(scene), clip.motion, moment)
        case "nightfall":
            times = ("day", "twilight", "night")
            place = min(1, int(moment * 2))
            first, second = (draw(replace(scene, time=time)) for time in times[place : place + 2])
            return Image.blend(first, second, moment * 2 - place)
        case _:
            return draw(scene)


def frames(clip: Clip, count: int = FRAMES) -> list[Image.Image]:
    """The whole clip."""
    return [frame(clip, index / (count - 1)) for index in range(count)]


def _closer(image: Image.Image, motion: str, moment: float) -> Image.Image:
    """A part of the image, larger: the middle, or the left or right side."""
    side = SIZE / (1 + (ZOOM - 1) * moment)
    spare = SIZE - side
    left = {"zoom": spare / 2, "pan left": 0.0, "pan right": spare}[motion]
    box = (left, spare / 2, left + side, spare / 2 + side)
    return image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)
