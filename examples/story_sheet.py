"""A contact sheet of a story: each scene's keyframe, how well it fits each description, and frames of its clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw, ImageFont

SIDE, GAP = 160, 8
FRAMES = 5
"""Of a clip, from its first to its last."""
SCORES = 300
"""Width of the column of scores."""
GOOD, BAD, INK, FAINT = "#1a7f37", "#b42318", "#1f2328", "#6e7781"


def frames(clip: Path) -> list[Image.Image]:
    """Some frames of a clip, evenly apart, the first and the last among them."""
    with av.open(clip) as opened:
        images = [frame.to_image() for frame in opened.decode(video=0)]
    return [images[round(at * (len(images) - 1) / (FRAMES - 1))] for at in range(FRAMES)]


def draw_sheet(
    title: str,
    scenes: Sequence[dict[str, Any]],
    keyframes: Sequence[Path],
    clips: Sequence[Path],
    validations: Sequence[Sequence[dict[str, Any]]],
    target: Path,
) -> None:
    """Draws the sheet.

    Args:
        title: Of the story.
        scenes: With their `description` and `motion`.
        keyframes: An image for each scene.
        clips: Likewise.
        validations: For each keyframe, its validation against each scene's description.
        target: Where the PNG is written.
    """
    row = SIDE + 3 * GAP + 20
    sheet = Image.new("RGB", (SIDE * (FRAMES + 1) + SCORES + (FRAMES + 3) * GAP, 44 + row * len(scenes)), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, 10), title, INK, ImageFont.load_default(20))
    small = ImageFont.load_default(13)
    for index, scene in enumerate(scenes):
        top = 44 + index * row
        pen.text((GAP, top), f"{index + 1}. {scene['description']} - {scene['motion']}", INK, small)
        with Image.open(keyframes[index]) as keyframe:
            sheet.paste(keyframe.convert("RGB").resize((SIDE, SIDE)), (GAP, top + 22))
        left = 2 * GAP + SIDE
        for number, validation in enumerate(validations[index]):
            own, valid = number == index, bool(validation["is_valid"])
            place = (left, top + 22 + 24 * number + (0 if own else 4))
            colour = GOOD if valid == own else BAD
            verdict = "matches" if valid else "does not match"
            what = "its own description" if own else f"that of scene {number + 1}"
            pen.text(place, f"{verdict} {what}: {validation['match_score']:.2f}", colour, small)
        wrong = [element["text"] for element in validations[index][index]["mismatched_elements"]]
        if wrong:
            pen.text((left, top + SIDE), f"not seen: {', '.join(wrong)}", FAINT, small)
        left += SCORES
        for number, keyframe in enumerate(frames(clips[index])):
            sheet.paste(keyframe.resize((SIDE, SIDE)), (left + number * (SIDE + GAP), top + 22))
    sheet.save(target, optimize=True)
