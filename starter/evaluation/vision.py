"""How often the vision model answers right, by the server's own rules for judging and validating."""

import asyncio
import io
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from adapters.base import ImagePart, JudgeRequest, Media, Question
from adapters.catalog.catalog import load_catalog
from adapters.vision.consistency import check_consistency
from adapters.vision.defaults import SceneDefaults
from adapters.vision.validation import validate_scene
from starter.captions import caption
from starter.drawing import draw
from starter.evaluation.vision_adapter import StarterVision
from starter.questions import NUMBERS, altered, choice, odd_one, odd_set, predicate, score
from starter.training.images import random_scenes

SEED = 78
PER_PICTURE = 4
BINS = 10
DEFAULTS = SceneDefaults.of(load_catalog().models["starter-vision"].defaults)
"""As the server compares keyframes."""


def media(image: Image.Image) -> Media:
    """The image as a PNG."""
    data = io.BytesIO()
    image.save(data, "PNG")
    return Media("image/png", data.getvalue())


def question_of(text: str, options: tuple[str, ...]) -> Question:
    """The question that `adapters.text.judge.first_token` put into a turn's text."""
    return Question(text.rpartition("Question: ")[2], options)


async def measure(checkpoint: Path, count: int) -> dict[str, str]:
    """The figures by name.

    Args:
        checkpoint: The folder of the vision model.
        count: Held-out images; each is asked several questions.
    """
    model, rng = StarterVision(checkpoint), random.Random(SEED)  # noqa: S311
    sure: list[tuple[float, bool]] = []
    predicates: list[tuple[bool, bool]] = []
    choices: list[bool] = []
    levels: list[int] = []
    for scene in random_scenes(count, rng, held=True):
        part = ImagePart(media(draw(scene)))
        kinds = [kind for kind in (predicate, choice) for _ in range(PER_PICTURE)] + [score]
        asked = [kind(scene, rng) for kind in kinds]
        result = await model.judge(JudgeRequest((part,), tuple(question_of(one.text, one.options) for one in asked)))
        for one, judged in zip(asked, result.judgements, strict=True):
            likeliest = max(range(len(one.options)), key=lambda i: judged.probabilities[i])
            right = one.options[likeliest] == one.answer
            sure.append((judged.probabilities[likeliest], right))
            if one.options == ("yes", "no"):
                predicates.append((one.answer == "yes", right))
            elif one.options == NUMBERS:
                levels.append(abs(likeliest - one.options.index(one.answer)))
            else:
                choices.append(right)
    figures = {
        "predicates, balanced accuracy": f"{100 * balanced(predicates):.1f} % of {len(predicates)}",
        "choices right": f"{100 * sum(choices) / len(choices):.1f} % of {len(choices)}",
        "levels, mean distance of 0..4": f"{sum(levels) / len(levels):.2f}",
        "expected calibration error": f"{calibration_error(sure):.3f}",
    }
    true, false = await validations(model, rng, count)
    figures["validation AUC, one attribute wrong"] = f"{auc(true, false):.3f}"
    figures["true scenes accepted at 0.5"] = f"{100 * sum(one >= 0.5 for one in true) / len(true):.1f} %"
    figures["false scenes refused at 0.5"] = f"{100 * sum(one < 0.5 for one in false) / len(false):.1f} %"
    found = [await finds_odd_image(model, rng) for _ in range(count // 2)]
    for name, at in (("odd picture of four found", 0), ("the same, asked of all four at once", 1)):
        figures[name] = f"{100 * sum(one[at] for one in found) / len(found):.1f} % of {len(found)}"
    return figures


async def validations(model: StarterVision, rng: random.Random, count: int) -> tuple[list[float], list[float]]:
    """Scores of images against their own descriptions, and against such with one attribute wrong."""
    true: list[float] = []
    false: list[float] = []
    for scene in random_scenes(count, rng, held=True):
        image = media(draw(scene))
        true.append((await validate_scene(model, image, caption(scene, rng, {}).text)).match_score)
        false.append((await validate_scene(model, image, caption(altered(scene, rng), rng, {}).text)).match_score)
    return true, false


async def finds_odd_image(model: StarterVision, rng: random.Random) -> tuple[bool, bool]:
    """Whether the odd one of a set of four is found: by the server's check, and by asking about all four at once."""
    group, odd = odd_set(random_scenes(1, rng, held=True)[0], rng, 4)
    images = [media(draw(scene)) for scene in group]
    checked = await check_consistency(model, images, aspects=DEFAULTS.aspects, comparison=DEFAULTS.comparison)
    asked = odd_one(group, odd)
    parts = tuple(map(ImagePart, images))
    result = await model.judge(JudgeRequest(parts, (question_of(asked.text, asked.options),)))
    chances = result.judgements[0].probabilities
    return checked.odd_frame == odd, chances.index(max(chances)) == odd


def balanced(answers: Sequence[tuple[bool, bool]]) -> float:
    """The mean of the shares of right answers among the true and among the false statements."""
    shares = [[right for truth, right in answers if truth is side] for side in (True, False)]
    return sum(sum(share) / max(1, len(share)) for share in shares) / 2


def calibration_error(answers: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error, in ten bins of equal width (https://arxiv.org/abs/1706.04599)."""
    error = 0.0
    for number in range(BINS):
        some = [one for one in answers if number / BINS < one[0] <= (number + 1) / BINS]
        error += abs(sum(chance for chance, _ in some) - sum(right for _, right in some))
    return error / len(answers)


def auc(true: Sequence[float], false: Sequence[float]) -> float:
    """How probably a true one scores above a false one; ties count half."""
    wins = sum((a > b) + 0.5 * (a == b) for a in true for b in false)
    return wins / (len(true) * len(false))


def run(checkpoint: Path, count: int) -> dict[str, str]:
    """`measure`, from where no loop runs."""
    return asyncio.run(measure(checkpoint, count))
