"""The subjects of the world, each a few flat shapes in one colour, with an outline that sets it off from any ground."""

from collections.abc import Iterator
from dataclasses import dataclass

from starter.shapes import Brush, Colour, Point, mixed
from starter.world import SIZE, Scene

COLOURS: dict[str, Colour] = {
    "red": (224, 44, 44),
    "yellow": (252, 214, 40),
    "green": (64, 178, 70),
    "blue": (44, 104, 232),
    "purple": (152, 70, 206),
    "white": (248, 248, 248),
}
OUTLINE = (34, 28, 44)
CREAM = (252, 240, 208)
WOOD = (128, 84, 48)
GREY = (150, 156, 168)
ORANGE = (250, 150, 40)
GLASS = (190, 228, 248)

FOOT = 108.0
"""Where the subjects stand, in pixels from the top; those that fly hang higher."""
AIR = {"balloon": -10.0, "rocket": -8.0, "owl": -4.0}


@dataclass(frozen=True)
class Part:
    """A shape of a subject: an ellipse where two points are given (its corners), else a polygon."""

    points: tuple[Point, ...]
    """In subject units: x from the middle, y up from the foot; a subject is about 50 wide and 50 high."""
    paint: Colour | str
    """A colour, or "own", "dark", "light": the subject's colour and its shades."""


def _parts(subject: str) -> Iterator[Part]:
    match subject:
        case "fox":  # From the side, looking right: a bushy tail, a long body, four legs, a head with two ears.
            yield Part(((-30, 36), (-14, 10)), "own")
            yield Part(((-31, 40), (-22, 29)), CREAM)
            yield from (Part(((x, 0), (x + 5, 0), (x + 5, 12), (x, 12)), "dark") for x in (-15, -7, 5, 12))
            yield Part(((-20, 26), (19, 8)), "own")
            yield Part(((4, 42), (9, 54), (15, 42)), "dark")
            yield Part(((16, 42), (23, 53), (26, 40)), "dark")
            yield Part(((2, 45), (2, 30), (14, 22), (34, 27), (26, 44)), "own")
            yield Part(((14, 30), (34, 27), (16, 23)), CREAM)
            yield Part(((14, 39), (19, 34)), OUTLINE)
        case "owl":  # From the front: round, two ears, two great eyes, a beak.
            yield Part(((-17, 52), (-15, 60), (-5, 52)), "dark")
            yield Part(((17, 52), (15, 60), (5, 52)), "dark")
            yield Part(((-19, 54), (19, 2)), "own")
            yield Part(((-24, 36), (-13, 8)), "dark")
            yield Part(((13, 36), (24, 8)), "dark")
            yield Part(((-16, 52), (0, 34)), CREAM)
            yield Part(((0, 52), (16, 34)), CREAM)
            yield Part(((-11, 47), (-4, 39)), OUTLINE)
            yield Part(((4, 47), (11, 39)), OUTLINE)
            yield Part(((-4, 37), (4, 37), (0, 28)), ORANGE)
        case "boat":
            yield Part(((-3, 14), (1, 14), (1, 60), (-3, 60)), WOOD)
            yield Part(((3, 18), (27, 18), (3, 58)), CREAM)
            yield Part(((-5, 18), (-22, 18), (-5, 48)), "light")
            yield Part(((-32, 15), (32, 15), (22, 0), (-22, 0)), "own")
        case "house":
            yield Part(((12, 44), (20, 44), (20, 58), (12, 58)), GREY)
            yield Part(((-24, 0), (24, 0), (24, 32), (-24, 32)), "own")
            yield Part(((-31, 31), (31, 31), (0, 57)), "dark")
            yield Part(((-5, 0), (7, 0), (7, 18), (-5, 18)), WOOD)
            yield Part(((-20, 14), (-10, 14), (-10, 25), (-20, 25)), CREAM)
            yield Part(((12, 14), (21, 14), (21, 25), (12, 25)), CREAM)
        case "robot":
            yield Part(((-1.5, 52), (1.5, 52), (1.5, 60), (-1.5, 60)), GREY)
            yield Part(((-4, 65), (4, 57)), ORANGE)
            yield Part(((-12, 0), (-4, 0), (-4, 10), (-12, 10)), GREY)
            yield Part(((4, 0), (12, 0), (12, 10), (4, 10)), GREY)
            yield Part(((-25, 14), (-18, 14), (-18, 30), (-25, 30)), "dark")
            yield Part(((18, 14), (25, 14), (25, 30), (18, 30)), "dark")
            yield Part(((-17, 9), (17, 9), (17, 32), (-17, 32)), "own")
            yield Part(((-14, 33), (14, 33), (14, 53), (-14, 53)), "own")
            yield Part(((-10, 38), (10, 38), (10, 48), (-10, 48)), OUTLINE)
            yield Part(((-8, 46), (-2, 40)), CREAM)
            yield Part(((2, 46), (8, 40)), CREAM)
            yield Part(((-8, 14), (8, 14), (8, 25), (-8, 25)), GREY)
        case "balloon":  # With a basket under it.
            yield Part(((-12, 30), (-10, 30), (-5, 10), (-7, 10)), WOOD)
            yield Part(((12, 30), (10, 30), (5, 10), (7, 10)), WOOD)
            yield Part(((-8, 0), (8, 0), (9, 12), (-9, 12)), WOOD)
            yield Part(((-24, 68), (24, 22)), "own")
            yield Part(((-9, 68), (9, 22)), "light")
        case "car":
            yield Part(((-18, 20), (18, 20), (11, 36), (-11, 36)), "dark")
            yield Part(((-12, 21), (-1, 21), (-1, 32), (-8, 32)), GLASS)
            yield Part(((2, 21), (13, 21), (8, 32), (2, 32)), GLASS)
            yield Part(((-32, 7), (32, 7), (32, 18), (24, 22), (-32, 22)), "own")
            yield Part(((-25, 15), (-9, -1)), OUTLINE)
            yield Part(((9, 15), (25, -1)), OUTLINE)
            yield Part(((-20, 10), (-14, 4)), GREY)
            yield Part(((14, 10), (20, 4)), GREY)
            yield Part(((27, 18), (33, 12)), CREAM)
        case "rocket":
            yield Part(((-8, 10), (8, 10), (0, -10)), ORANGE)
            yield Part(((-10, 10), (-24, 4), (-10, 30)), "dark")
            yield Part(((10, 10), (24, 4), (10, 30)), "dark")
            yield Part(((-13, 8), (13, 8), (13, 42), (8, 56), (0, 66), (-8, 56), (-13, 42)), "own")
            yield Part(((-9, 54), (9, 54), (0, 66)), "dark")
            yield Part(((-7, 45), (7, 31)), CREAM)
            yield Part(((-4, 42), (4, 34)), GLASS)
        case _:
            raise ValueError(f"no such subject: {subject}")


def draw_subject(brush: Brush, scene: Scene) -> None:
    """Puts the scene's subject on the brush's canvas: first the outline of all its parts, then the parts."""
    own = COLOURS[scene.colour]
    shades = {"own": own, "dark": mixed(own, OUTLINE, 0.28), "light": mixed(own, (255, 255, 255), 0.35)}
    middle, foot = SIZE / 2 + scene.x, FOOT + AIR.get(scene.subject, 0.0) + scene.y
    parts = list(_parts(scene.subject))
    for grow in (2.0, 0.0):
        for part in parts:
            colour = OUTLINE if grow else part.paint if isinstance(part.paint, tuple) else shades[part.paint]
            points = [(middle + x * scene.scale, foot - y * scene.scale) for x, y in part.points]
            if len(points) == 2:
                (left, top), (right, bottom) = points
                brush.ellipse(left - grow, top - grow, right + grow, bottom + grow, colour)
            else:
                brush.polygon(points, colour, grow=grow)
