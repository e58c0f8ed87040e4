"""Tells scenes in words: many phrasings, and captions that leave attributes out."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starter.world import ATTRIBUTES, Scene

SETTINGS: Mapping[str, Sequence[str]] = {
    "forest": ("in a forest", "in the forest", "in the woods", "between the trees of a forest"),
    "desert": ("in a desert", "in the desert", "among the cactuses of a desert", "in a sandy desert"),
    "city": ("in a city", "in the city", "in a town", "on a street in the city"),
    "sea": ("on the sea", "at sea", "on the ocean", "on the waves of the sea"),
    "mountains": ("in the mountains", "in front of mountains", "below high mountains", "among the mountains"),
    "meadow": ("in a meadow", "on a meadow", "in a field of flowers", "on a meadow with flowers"),
}
TIMES: Mapping[str, Sequence[str]] = {
    "day": ("by day", "in daylight", "during the day", "in the daytime"),
    "twilight": ("at twilight", "at dusk", "at sunset", "in the evening"),
    "night": ("at night", "by night", "in the night", "under the moon"),
}
WEATHERS: Mapping[str, Sequence[str]] = {
    "clear": ("in clear weather", "under a clear sky", "with a clear sky", "with no clouds"),
    "fog": ("in the fog", "in fog", "in the mist", "in foggy weather"),
    "rain": ("in the rain", "in rain", "in rainy weather", "under a rainy sky"),
    "snow": ("in the snow", "in snow", "in snowy weather", "while snow falls"),
}
ADJECTIVES: Mapping[str, str] = {"clear": "clear", "fog": "foggy", "rain": "rainy", "snow": "snowy"}
SUBJECTS: Mapping[str, Sequence[str]] = {
    "fox": ("fox", "little fox"),
    "owl": ("owl", "wise owl"),
    "boat": ("boat", "sailing boat", "small boat"),
    "house": ("house", "small house"),
    "robot": ("robot", "friendly robot"),
    "balloon": ("balloon", "hot air balloon"),
    "car": ("car", "small car"),
    "rocket": ("rocket", "space rocket"),
}
OPENINGS = ("", "", "", "a picture of ", "an illustration of ", "a storybook picture of ", "there is ")
STYLES = ("", "", "", ", flat colours", ", storybook style", ", children's book illustration")
PRONE_TO_OMIT: Mapping[str, float] = {"setting": 0.12, "subject": 0.04, "colour": 0.12, "time": 0.15, "weather": 0.15}
"""How often an attribute is left out."""


@dataclass(frozen=True)
class Caption:
    """A scene in words."""

    text: str
    mentioned: frozenset[str]
    """The attributes that the text names."""


def article(text: str) -> str:
    """The text with "a" or "an" before it.

    Examples:
        >>> article("owl")
        'an owl'
    """
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def caption(scene: Scene, rng: random.Random, omit: Mapping[str, float] = PRONE_TO_OMIT) -> Caption:
    """Tells a scene, differently each time.

    Args:
        scene: What is told.
        rng: Chooses the words, and what is left out.
        omit: How often each attribute is left out, 0..1; one that is not in it is always told.
    """
    mentioned = {name for name in ATTRIBUTES if rng.random() >= omit.get(name, 0.0)}
    if "subject" not in mentioned:
        mentioned.discard("colour")
    if not mentioned:
        mentioned = {"setting"}
    if "subject" in mentioned and rng.random() < 0.12:
        return Caption(_listed(scene, mentioned, rng), frozenset(mentioned))
    return Caption(_sentence(scene, mentioned, rng), frozenset(mentioned))


def full_caption(scene: Scene) -> str:
    """All attributes, always in the same words: "a red fox in a forest at night, in the rain"."""
    thing = article(f"{scene.colour} {scene.subject}")
    where, when, weather = SETTINGS[scene.setting][0], TIMES[scene.time][0], WEATHERS[scene.weather][0]
    return f"{thing} {where} {when}, {weather}"


def _subject(scene: Scene, mentioned: set[str], rng: random.Random) -> str:
    noun = rng.choice(SUBJECTS[scene.subject])
    return f"{scene.colour} {noun}" if "colour" in mentioned else noun


def _listed(scene: Scene, mentioned: set[str], rng: random.Random) -> str:
    """Words between commas, as people who draw with machines write them."""
    rest = [str(getattr(scene, name)) for name in ("setting", "time", "weather") if name in mentioned]
    rng.shuffle(rest)
    return ", ".join([_subject(scene, mentioned, rng), *rest])


def _sentence(scene: Scene, mentioned: set[str], rng: random.Random) -> str:
    opening = rng.choice(OPENINGS)
    places = {"setting": SETTINGS[scene.setting], "time": TIMES[scene.time], "weather": WEATHERS[scene.weather]}
    if "subject" not in mentioned:
        return _empty(scene, mentioned, rng)
    thing = article(_subject(scene, mentioned, rng))
    if rng.random() < 0.25:
        thing = "the " + thing.split(" ", 1)[1]
    phrases = [rng.choice(places[name]) for name in places if name in mentioned]
    if rng.random() < 0.5:
        rng.shuffle(phrases)
    if phrases and not opening and rng.random() < 0.2:  # "At night, a red fox in the forest"
        front = phrases.pop()
        text = f"{front}, {thing} {' '.join(phrases)}".strip()
    elif len(phrases) > 1 and rng.random() < 0.4:
        text = f"{thing} {' '.join(phrases[:-1])}, {phrases[-1]}"
    else:
        text = f"{thing} {' '.join(phrases)}".strip()
    text = opening + text + rng.choice(STYLES)
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:]
    return text + ("." if rng.random() < 0.4 else "")


def _empty(scene: Scene, mentioned: set[str], rng: random.Random) -> str:
    """A scene without its subject: "a rainy night in the city"."""
    adjective = ADJECTIVES[scene.weather] + " " if "weather" in mentioned else ""
    moment = scene.time if "time" in mentioned else "scene"
    where = " " + rng.choice(SETTINGS[scene.setting]) if "setting" in mentioned else ""
    return article(f"{adjective}{moment}") + where
