"""Draws curves of losses as a PNG, on a logarithmic axis."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 720, 400, 48
INKS = ((44, 104, 232), (224, 44, 44), (40, 150, 70), (152, 70, 206), (230, 140, 20), (90, 90, 90))


def draw_curves(rows: Sequence[dict[str, float]], path: Path, title: str) -> None:
    """Draws every figure of the rows over their step.

    Args:
        rows: Each with "step" and figures by name; figures of zero or less are left out.
        path: Of the PNG.
        title: What is written above.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    names = [name for name in rows[-1] if name != "step"]
    logs = [math.log10(row[name]) for row in rows for name in names if row.get(name, 0) > 0]
    if not logs:
        return
    low, high = min(logs), max(max(logs), min(logs) + 0.1)
    last = max(row["step"] for row in rows) or 1.0

    def place(step: float, value: float) -> tuple[float, float]:
        x = MARGIN + (WIDTH - 2 * MARGIN) * step / last
        return x, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (math.log10(value) - low) / (high - low)

    pen.rectangle([MARGIN, MARGIN, WIDTH - MARGIN, HEIGHT - MARGIN], outline=(180, 180, 180))
    pen.text((MARGIN, 12), title, fill="black")
    for level in (low, (low + high) / 2, high):
        pen.text((4, place(0, 10**level)[1] - 6), f"{10**level:.2g}", fill="black")
    pen.text((WIDTH - MARGIN - 20, HEIGHT - MARGIN + 8), f"{last:.0f}", fill="black")
    for index, name in enumerate(names):
        ink = INKS[index % len(INKS)]
        points = [place(row["step"], row[name]) for row in rows if row.get(name, 0) > 0]
        if len(points) > 1:
            pen.line(points, fill=ink, width=2)
        pen.text((MARGIN + 90 * index, 28), name, fill=ink)
    image.save(path)
