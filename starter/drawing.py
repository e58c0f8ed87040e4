"""Draws scenes: flat colours, thick outlines, anti-aliased, the same pixels for the same scene.

Sky and light, ground and what stands on it, weather, and the subject before all of it, like a sticker. Every attribute
shows in large, clear marks: the models that learn these images are small, and see them in cells of 8 pixels.
"""

import random

from PIL import Image

from starter.shapes import Brush, Colour, mixed
from starter.subjects import draw_subject
from starter.world import SIZE, Scene

SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((118, 190, 240), (178, 222, 248)),
    "twilight": ((150, 92, 150), (246, 150, 96)),
    "night": ((20, 26, 70), (38, 50, 110)),
}
"""The upper sky, and the sky above the horizon."""
LIGHT: dict[str, tuple[Colour, float]] = {
    "day": ((255, 255, 255), 0.0),
    "twilight": ((150, 70, 60), 0.34),
    "night": ((14, 18, 56), 0.58),
}
"""What all things but the subject are tinted with, and how much."""
HORIZON = 70
PALE = (226, 229, 232)


def draw(scene: Scene, *, with_subject: bool = True) -> Image.Image:
    """The image of a scene: RGB, `SIZE` pixels a side.

    Args:
        scene: What to draw.
        with_subject: False leaves the subject out, for clips that move it over a still ground.
    """
    rng = random.Random(scene.layout)  # noqa: S311
    brush = Brush(SIZE)
    _sky(brush, scene, rng)
    _SETTINGS[scene.setting](_Tinted(brush, scene), rng)
    if scene.weather == "fog":
        _fog(brush, rng)
    elif scene.weather == "rain":
        _rain(brush, rng)
    elif scene.weather == "snow":
        _snow(brush, rng)
    if with_subject:
        draw_subject(brush, scene)
    return brush.image()


class _Tinted:
    """A brush whose colours stand in the scene's light and weather."""

    def __init__(self, brush: Brush, scene: Scene) -> None:
        self.brush = brush
        self.scene = scene

    def paint(self, colour: Colour, *, ground: bool = False) -> Colour:
        """A thing's colour as it looks here. Snow lies on the ground."""
        if ground and self.scene.weather == "snow":
            colour = mixed(colour, (246, 248, 252), 0.8)
        tint, amount = LIGHT[self.scene.time]
        colour = mixed(colour, tint, amount)
        return mixed(colour, PALE, 0.38) if self.scene.weather == "fog" else colour


def _sky(brush: Brush, scene: Scene, rng: random.Random) -> None:
    upper, lower = SKIES[scene.time]
    if scene.weather in ("rain", "snow"):
        grey = (112, 120, 134) if scene.weather == "rain" else (196, 202, 212)
        upper, lower = mixed(upper, grey, 0.4), mixed(lower, grey, 0.4)
    elif scene.weather == "fog":
        upper, lower = mixed(upper, PALE, 0.38), mixed(lower, PALE, 0.38)
    brush.box(0, 0, SIZE, SIZE, upper)
    brush.box(0, 34, SIZE, SIZE, lower)
    x = rng.choice((20, 108)) + rng.uniform(-5, 5)
    if scene.time == "day":
        brush.dot(x, 20, 12, (255, 224, 70))
    elif scene.time == "twilight":
        brush.dot(x, HORIZON - 8, 15, (240, 70, 48))
    else:
        brush.dot(x, 20, 12, (252, 244, 200))
        brush.dot(x + 6, 16, 10, upper)
        for spot in (8, 38, 62, 86, 118):
            if abs(spot - x) > 16:
                brush.dot(spot + rng.uniform(-4, 4), rng.uniform(8, 46), 2.2, (252, 244, 200))


def _forest(tinted: _Tinted, rng: random.Random) -> None:
    brush = tinted.brush
    brush.box(0, HORIZON, SIZE, SIZE, tinted.paint((70, 124, 58), ground=True))
    dark, trunk = tinted.paint((24, 92, 52)), tinted.paint((104, 68, 40))
    for index in range(6):
        x, height = index * 25 + rng.uniform(-5, 5), rng.uniform(52, 66)
        foot = HORIZON + 12
        brush.box(x - 3, foot - 10, x + 3, foot + 4, trunk)
        brush.polygon([(x - 13, foot - 6), (x + 13, foot - 6), (x, foot - height * 0.62)], dark)
        brush.polygon([(x - 10, foot - height * 0.42), (x + 10, foot - height * 0.42), (x, foot - height)], dark)


def _desert(tinted: _Tinted, rng: random.Random) -> None:
    brush = tinted.brush
    shift = rng.uniform(-14, 14)
    brush.ellipse(-50 + shift, HORIZON - 14, 70 + shift, HORIZON + 60, tinted.paint((222, 172, 92)))
    brush.ellipse(40 + shift, HORIZON - 6, 190 + shift, HORIZON + 60, tinted.paint((232, 186, 108)))
    brush.box(0, HORIZON + 16, SIZE, SIZE, tinted.paint((240, 202, 128), ground=True))
    green = tinted.paint((58, 132, 74))
    for x in (18 + rng.uniform(-8, 8), 110 + rng.uniform(-8, 8)):
        top = HORIZON - 20 + rng.uniform(-5, 5)
        brush.line([(x, top), (x, HORIZON + 24)], 8, green)
        brush.line([(x - 11, top + 8), (x - 11, top + 20), (x, top + 20)], 5, green)
        brush.line([(x + 11, top + 4), (x + 11, top + 15), (x, top + 15)], 5, green)


def _city(tinted: _Tinted, rng: random.Random) -> None:
    brush = tinted.brush
    walls = ((126, 112, 128), (150, 132, 120), (104, 118, 140))
    glass = (255, 226, 120) if tinted.scene.time != "day" else (206, 232, 246)
    x, index = -rng.uniform(0, 12), 0
    while x < SIZE:
        width, top = rng.choice((22, 26, 30)), rng.uniform(22, 46)
        brush.box(x, top, x + width - 1, SIZE, tinted.paint(walls[index % 3]))
        for row in range(4):
            for column in range(width // 10):
                left, high = x + 4 + column * 10, top + 6 + row * 12
                brush.box(left, high, left + 5, high + 7, mixed(glass, PALE, 0.25))
        x, index = x + width, index + 1
    brush.box(0, HORIZON + 24, SIZE, SIZE, tinted.paint((98, 98, 104), ground=True))
    for x in range(-4, SIZE, 32):
        brush.box(x, 111, x + 16, 114, tinted.paint((240, 236, 214)))


def _sea(tinted: _Tinted, rng: random.Random) -> None:
    brush = tinted.brush
    brush.box(0, HORIZON, SIZE, SIZE, tinted.paint((30, 108, 172), ground=True))
    crest = tinted.paint((132, 202, 232))
    for row in range(5):
        y, shift = HORIZON + 6 + row * 12, rng.uniform(0, 32)
        for x in range(-64, SIZE + 32, 32):
            left = x + shift
            brush.line([(left, y), (left + 8, y - 4), (left + 16, y), (left + 24, y + 3), (left + 32, y)], 3, crest)


def _mountains(tinted: _Tinted, rng: random.Random) -> None:
    brush = tinted.brush
    rocks = (tinted.paint((120, 108, 136)), tinted.paint((96, 88, 118)))
    cap = tinted.paint((246, 246, 250))
    for index, middle in enumerate((14, 64, 114)):
        x, top, half = middle + rng.uniform(-8, 8), 20 + rng.uniform(-4, 12), 38
        foot = HORIZON + 16
        brush.polygon([(x - half, foot), (x + half, foot), (x, top)], rocks[index % 2])
        slope = half / (foot - top)
        brush.polygon([(x - 17 * slope, top + 17), (x, top + 11), (x + 17 * slope, top + 17), (x, top)], cap)
    brush.box(0, HORIZON + 16, SIZE, SIZE, tinted.paint((122, 130, 104), ground=True))


def _meadow(tinted: _Tinted, rng: random.Random) -> None:
    brush = tinted.brush
    shift = rng.uniform(-16, 16)
    brush.ellipse(-60 + shift, HORIZON - 8, 90 + shift, SIZE + 40, tinted.paint((150, 208, 92)))
    brush.ellipse(30 + shift, HORIZON - 2, 200 + shift, SIZE + 40, tinted.paint((132, 196, 80)))
    brush.box(0, HORIZON + 20, SIZE, SIZE, tinted.paint((146, 206, 90), ground=True))
    colours = ((250, 120, 170), (255, 236, 120), (250, 250, 250))
    for index in range(9):
        x, y = index * 15 + rng.uniform(0, 8), HORIZON + 14 + (index * 5 % 4) * 14 + rng.uniform(-3, 3)
        brush.dot(x, y, 4, tinted.paint(colours[index % 3]))
        brush.dot(x, y, 1.6, tinted.paint((236, 150, 40)))


_SETTINGS = {
    "forest": _forest,
    "desert": _desert,
    "city": _city,
    "sea": _sea,
    "mountains": _mountains,
    "meadow": _meadow,
}


def _fog(brush: Brush, rng: random.Random) -> None:
    """Broad pale banks."""
    for middle in (24, 62, 112):
        y, x = middle + rng.uniform(-3, 3), rng.uniform(-40, 10)
        brush.pill(x, y - 6, x + 120, y + 6, PALE)
        brush.pill(x + 70, y + 1, x + 200, y + 11, PALE)


def _rain(brush: Brush, rng: random.Random) -> None:
    """A dark cloud along the top, and thick drops."""
    shift = rng.uniform(-8, 8)
    for index in range(5):
        x = index * 28 + shift + 4
        brush.ellipse(x - 22, -14, x + 22, 15 + index % 2 * 5, (74, 80, 96))
    for row in range(4):
        for column in range(5):
            x, y = column * 28 + (row % 2) * 14 + rng.uniform(-4, 4), 28 + row * 27 + rng.uniform(-5, 5)
            brush.line([(x + 3, y - 6), (x - 3, y + 6)], 5.4, (34, 66, 130))
            brush.line([(x + 3, y - 6), (x - 3, y + 6)], 3.2, (150, 214, 255))


def _snow(brush: Brush, rng: random.Random) -> None:
    """Flakes as large as coins."""
    for row in range(5):
        for column in range(5):
            x, y = column * 28 + (row % 2) * 14 + rng.uniform(-5, 5), 10 + row * 26 + rng.uniform(-6, 6)
            radius = rng.uniform(3.4, 4.6)
            brush.dot(x, y, radius + 1.2, (120, 146, 186))
            brush.dot(x, y, radius, (255, 255, 255))
