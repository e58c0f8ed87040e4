"""Reads which attributes a text names: the other way round of `starter.captions`, for texts cut to pieces."""

import re
from collections.abc import Mapping

from starter.captions import ADJECTIVES, TIMES, WEATHERS
from starter.world import ATTRIBUTES

_WORDS: Mapping[str, Mapping[str, str]] = {
    "setting": {
        "forest": "forest", "woods": "forest", "wood": "forest", "desert": "desert", "dunes": "desert", "city": "city",
        "town": "city", "sea": "sea", "ocean": "sea", "mountains": "mountains", "mountain": "mountains",
        "meadow": "meadow", "field": "meadow",
    },
    "subject": {subject: subject for subject in ATTRIBUTES["subject"]},
    "colour": {colour: colour for colour in ATTRIBUTES["colour"]},
    "time": {
        "day": "day", "daylight": "day", "daytime": "day", "twilight": "twilight", "dusk": "twilight",
        "sunset": "twilight", "evening": "twilight", "night": "night", "moon": "night",
    },
    "weather": {
        "clear": "clear", "fog": "fog", "foggy": "fog", "mist": "fog", "misty": "fog", "rain": "rain", "rainy": "rain",
        "raining": "rain", "snow": "snow", "snowy": "snow", "snowing": "snow",
    },
}  # fmt: skip
_NO_CLOUDS = re.compile(r"\bno clouds\b")


def meanings() -> dict[str, tuple[str, str]]:
    """What single words name: an attribute and its value, by word."""
    return {word: (name, value) for name, values in _WORDS.items() for word, value in values.items()}


def named(text: str) -> dict[str, str]:
    """The attributes that a text names, with their values; where it names two values of one, the last.

    Examples:
        >>> named("A red fox in the woods at dusk")
        {'setting': 'forest', 'subject': 'fox', 'colour': 'red', 'time': 'twilight'}
    """
    lower = _NO_CLOUDS.sub("clear", text.lower())
    words = re.findall(r"[a-z]+", lower)
    found = {attribute: [values[word] for word in words if word in values] for attribute, values in _WORDS.items()}
    return {attribute: values[-1] for attribute, values in found.items() if values}


def phrases(attribute: str, value: str) -> list[str]:
    """Short ways to name one value on its own: "night", "at night"; "a fox", "fox"."""
    bare = [value, f"the {value}"]
    if attribute == "time":
        return [value, *TIMES[value]]
    if attribute == "weather":
        return [value, *WEATHERS[value], f"{ADJECTIVES[value]} weather"]
    if attribute == "colour":
        return [value, f"something {value}", f"the colour {value}"]
    return bare if attribute == "setting" else [*bare, f"a {value}" if value[0] != "o" else f"an {value}"]
