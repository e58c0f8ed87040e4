"""Questions about scenes, with their answers: what the vision model learns from and is measured with.

They are put as the adapters put them (`adapters.text.judge.first_token`, `adapters.vision`): a model this small knows
only what it was asked before.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.base import JudgeRequest, Question, TextPart
from adapters.text.judge.first_token import message
from adapters.vision.caption_comparison import description_prompt
from adapters.vision.decomposition import elements
from starter.captions import PRONE_TO_OMIT, article, caption, full_caption
from starter.lexicon import named, phrases
from starter.world import ATTRIBUTES, Scene

WRONG_COUNTS = (1, 1, 1, 2, 3)
"""How many attributes of a false description are false."""
NUMBERS = ("one", "two", "three", "four", "five")
DIGITS = ("1", "2", "3", "4", "5")
"""Learnt too, but tokenizers of Qwen2's kind write " 1" and " 2" with the same first token."""


@dataclass(frozen=True)
class LabelledQuestion:
    """A question and its answer."""

    text: str
    """What follows the images in the user's turn."""
    answer: str
    options: tuple[str, ...] = ()
    """Empty where the answer is free text."""


def judged(question: Question, answer: str) -> LabelledQuestion:
    """A question as `TextAdapter.judge` puts it."""
    part = message(JudgeRequest((), (question,)), question).content[-1]
    assert isinstance(part, TextPart)
    return LabelledQuestion(part.text, answer, question.options)


def yes_no(text: str, truth: bool) -> LabelledQuestion:
    """A question that is true or false."""
    return judged(Question(text), "yes" if truth else "no")


def altered(scene: Scene, rng: random.Random, count: int = 1) -> Scene:
    """The scene with this many attributes made others."""
    for name in rng.sample(sorted(ATTRIBUTES), count):
        others = [value for value in ATTRIBUTES[name] if value != getattr(scene, name)]
        scene = replace(scene, **{name: rng.choice(others)})
    return scene


def fits(scene: Scene, text: str) -> bool:
    """Whether all that a text names is so in the scene."""
    return all(getattr(scene, name) == value for name, value in named(text).items())


def validation(scene: Scene, rng: random.Random) -> list[LabelledQuestion]:
    """The questions of one scene validation: a description, true or not, and its elements."""
    mentioned = scene if rng.random() < 0.5 else altered(scene, rng, rng.choice(WRONG_COUNTS))
    return validation_of(scene, full_caption(mentioned) if rng.random() < 0.2 else caption(mentioned, rng).text)


def validation_of(scene: Scene, description: str) -> list[LabelledQuestion]:
    """The questions of the validation of one description."""
    found = [yes_no(f'Does the image match this description: "{description}"?', fits(scene, description))]
    found += [yes_no(f'Does the image show this: "{text}"?', fits(scene, text)) for text in elements(description)]
    return found


def predicate(scene: Scene, rng: random.Random) -> LabelledQuestion:
    """One attribute, true or not, in few words."""
    name = rng.choice(sorted(ATTRIBUTES))
    true = str(getattr(scene, name))
    value = true if rng.random() < 0.5 else rng.choice([other for other in ATTRIBUTES[name] if other != true])
    phrase = rng.choice(phrases(name, value))
    forms = [f'Does the image show this: "{phrase}"?']
    match name:
        case "subject":
            forms += [
                f"Is there {article(value)}?",
                f"Is there {article(value)} in the image?",
                f"Is it {article(value)}?",
            ]
        case "colour":
            forms += [f"Is the {scene.subject} {value}?", f"Is it {value}?", f"Is the subject {value}?"]
        case "setting":
            forms += [
                f"Is this the {value}?",
                f"Is the {scene.subject} in the {value}?",
                f"Is the setting the {value}?",
            ]
        case "time":
            forms += [f"Is it {value}?", f"Is the time {value}?"]
        case _:
            verb = {"rain": "Is it raining?", "snow": "Is it snowing?", "fog": "Is it foggy?", "clear": "Is it clear?"}
            forms += [verb[value], f"Is there {value}?" if value != "clear" else "Is the sky clear?"]
    return yes_no(rng.choice(forms), value == true)


def choice(scene: Scene, rng: random.Random) -> LabelledQuestion:
    """Which value an attribute has, out of two or more."""
    name = rng.choice(sorted(ATTRIBUTES))
    true = str(getattr(scene, name))
    others = [value for value in ATTRIBUTES[name] if value != true]
    options = [true, *rng.sample(others, rng.randint(1, len(others)))]
    rng.shuffle(options)
    thing = rng.choice((f"the {scene.subject}", "the subject"))
    forms = {
        "setting": (f"Where is {thing}?", "What is the setting?", "Which place is it?"),
        "subject": ("What is in the image?", "What is the subject?", "Which of these does the image show?"),
        "colour": (f"What colour is {thing}?", f"Which colour has {thing}?", f"What is the colour of {thing}?"),
        "time": ("What time of day is it?", "Which time of day does the image show?", "When is it?"),
        "weather": ("What is the weather?", "What weather is it?", "Which weather does the image show?"),
    }
    return judged(Question(rng.choice(forms[name]), tuple(options)), true)


def score(scene: Scene, rng: random.Random, numbers: Sequence[str] = NUMBERS) -> LabelledQuestion:
    """How much of a description is so: five for all, one less for every attribute that is not."""
    wrong = rng.randint(0, 4)
    described = full_caption(altered(scene, rng, wrong))
    text = f'How well does the image fit this description, from {numbers[0]} to {numbers[4]}: "{described}"?'
    return judged(Question(text, tuple(numbers)), numbers[4 - wrong])


def describe(scene: Scene, rng: random.Random) -> LabelledQuestion:
    """What the image shows, in one sentence."""
    forms = ("Describe the image.", "What does the image show?", "What is in this picture?", "Describe this scene.")
    text = full_caption(scene)
    return LabelledQuestion(rng.choice(forms), f"{text[0].upper()}{text[1:]}.")


def whole(scene: Scene, rng: random.Random) -> LabelledQuestion:
    """Whether the image is as a description says, which is wrong in one attribute or in none."""
    mentioned = scene if rng.random() < 0.5 else altered(scene, rng)
    return validation_of(scene, caption(mentioned, rng, {} if rng.random() < 0.5 else PRONE_TO_OMIT).text)[0]


def tell(scene: Scene, rng: random.Random) -> LabelledQuestion:
    """One attribute, in the model's own words, as keyframes are compared by (`adapters.vision.caption_comparison`)."""
    name = rng.choice(sorted(ATTRIBUTES))
    value = str(getattr(scene, name))
    return LabelledQuestion(description_prompt(name), article(value) if name == "subject" else value)


def compare(scenes: Sequence[Scene], rng: random.Random) -> list[LabelledQuestion]:
    """Questions about two and more images, in their order."""
    name = rng.choice(sorted(ATTRIBUTES))
    same = len({getattr(scene, name) for scene in scenes}) == 1
    word = "colours" if name == "colour" else name
    found = [
        yes_no(f"Do the images show the same {name}?", same),
        yes_no(f"Is the {word} the same in all images?", same),
    ]
    return [rng.choice(found)]


def odd_one(scenes: Sequence[Scene], odd: int, numbers: Sequence[str] = NUMBERS) -> LabelledQuestion:
    """Which of several images differs from the rest."""
    options = tuple(numbers[: len(scenes)])
    return judged(Question("Which image does not fit the others?", options), options[odd])


def which(scenes: Sequence[Scene], odd: int, rng: random.Random) -> LabelledQuestion:
    """Which of several images shows what only the odd one does."""
    name = rng.choice(("subject", "colour", "setting"))
    phrase = rng.choice(phrases(name, str(getattr(scenes[odd], name))))
    options = NUMBERS[: len(scenes)]
    return judged(Question(f'Which image shows this: "{phrase}"?', options), options[odd])


def odd_set(scene: Scene, rng: random.Random, count: int) -> tuple[list[Scene], int]:
    """This many images that agree in setting, subject and colour, but one, which agrees in none of them.

    Returns:
        The scenes, each with its own place, size, layout, time and weather; and which one is odd.
    """
    odd = rng.randrange(count)
    other = scene
    for name in ("subject", "colour", "setting"):
        other = replace(other, **{name: rng.choice([v for v in ATTRIBUTES[name] if v != getattr(scene, name)])})
    made: list[Scene] = []
    for index in range(count):
        base = other if index == odd else scene
        made.append(replace(base, x=rng.uniform(-24, 24), scale=rng.uniform(0.85, 1.15), layout=rng.randrange(2**32)))
    return made, odd


def several(scene: Scene, rng: random.Random, count: int) -> list[LabelledQuestion]:
    """This many questions about one image, of all kinds."""
    found = validation(scene, rng)[: max(1, count // 2)]
    kinds = (predicate, whole, whole, choice, score, describe, tell)
    found += [rng.choice(kinds)(scene, rng) for _ in range(count - len(found) - 1)]
    return [*found, score(scene, rng, DIGITS) if rng.random() < 0.1 else rng.choice(kinds)(scene, rng)]
