"""A brush for flat shapes: coordinates in pixels of the image, edges smoothed by drawing larger and shrinking."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
FINER = 3
"""How many times larger than the image the canvas is, a side."""


def mixed(first: Colour, second: Colour, amount: float) -> Colour:
    """The first colour with so much (0..1) of the second in it."""
    a, b, c = (round(one + (other - one) * amount) for one, other in zip(first, second, strict=True))
    return a, b, c


class Brush:
    """A canvas and the shapes that can be put on it."""

    def __init__(self, size: int) -> None:
        """A black canvas of this many pixels a side."""
        self._size = size
        self._image = Image.new("RGB", (size * FINER, size * FINER))
        self._draw = ImageDraw.Draw(self._image)

    def image(self) -> Image.Image:
        """What was drawn, in its own size."""
        return self._image.reduce(FINER)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A rectangle; the right and bottom edges are not part of it."""
        corners = [left * FINER, top * FINER, right * FINER - 1, bottom * FINER - 1]
        self._draw.rectangle(corners, fill=colour)

    def ellipse(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """The ellipse within a rectangle."""
        self._draw.ellipse([left * FINER, top * FINER, right * FINER, bottom * FINER], fill=colour)

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A disc."""
        self.ellipse(x - radius, y - radius, x + radius, y + radius, colour)

    def pill(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A rectangle with half discs for its shorter ends."""
        corners = [left * FINER, top * FINER, right * FINER, bottom * FINER]
        self._draw.rounded_rectangle(corners, radius=(bottom - top) / 2 * FINER, fill=colour)

    def polygon(self, points: Sequence[Point], colour: Colour, *, grow: float = 0.0) -> None:
        """A polygon, grown by this many pixels on every side, with round corners."""
        corners = [(x * FINER, y * FINER) for x, y in points]
        self._draw.polygon(corners, fill=colour)
        if grow:
            self.line([*points, points[0]], 2 * grow, colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A line through the points, with round joints and ends."""
        corners = [(x * FINER, y * FINER) for x, y in points]
        self._draw.line(corners, fill=colour, width=round(width * FINER))
        for x, y in points:
            self.dot(x, y, width / 2, colour)
