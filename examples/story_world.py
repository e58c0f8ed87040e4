"""The storybook world that the starter's models know, as a JSON schema for the model that writes the script.

Models as small as the starter's draw, see and clip nothing else. The schema leaves the text model no other words, and
`described` says a scene in those that the others were trained on (docs/starter.md).
"""

from typing import Any

MODEL = "starter-image"
"""Who draws this world and no other."""
WORLD: dict[str, list[str]] = {
    "setting": ["forest", "desert", "city", "sea", "mountains", "meadow"],
    "subject": ["fox", "owl", "boat", "house", "robot", "balloon", "car", "rocket"],
    "colour": ["red", "yellow", "green", "blue", "purple", "white"],
    "time": ["day", "twilight", "night"],
    "weather": ["clear", "fog", "rain", "snow"],
}
MOTIONS = [
    "it drifts to the left",
    "it drifts to the right",
    "it rises",
    "the camera zooms in",
    "the camera pans to the left",
    "the camera pans to the right",
]
PLACES = {
    "forest": "in a forest",
    "desert": "in a desert",
    "city": "in a city",
    "sea": "on the sea",
    "mountains": "in the mountains",
    "meadow": "in a meadow",
}
TIMES = {"day": "by day", "twilight": "at twilight", "night": "at night"}
WEATHERS = {"clear": "in clear weather", "fog": "in the fog", "rain": "in the rain", "snow": "in the snow"}


def schema(scenes: int, narration: dict[str, Any]) -> dict[str, Any]:
    """The schema of a script of this world: a hero, and scenes in which the places change.

    Args:
        scenes: How many, 1 to 6. The settings are dealt out to them: no two have one in common.
        narration: The schema of a scene's narration.
    """
    share = len(WORLD["setting"]) // scenes
    dealt = [WORLD["setting"][at * share : (at + 1) * share] for at in range(scenes)]
    properties: dict[str, Any] = {"title": narration | {"maxLength": 60}, "hero": _object(_words("subject", "colour"))}
    for number, settings in enumerate(dealt, 1):
        words = {"setting": {"enum": settings}, **_words("time", "weather"), "motion": {"enum": MOTIONS}}
        properties[f"scene_{number}"] = _object(words | {"narration": narration})
    return _object(properties)


def script(written: dict[str, Any]) -> dict[str, Any]:
    """What was written under `schema`, in the form of any other script: a title, and scenes with their description."""
    numbered = [key for key in written if key.startswith("scene_")]
    scenes = [{**written[key], "description": described(written["hero"], written[key])} for key in numbered]
    return {"title": written["title"], "hero": written["hero"], "scenes": scenes}


def described(hero: dict[str, str], scene: dict[str, str]) -> str:
    """A scene in the world's words.

    Examples:
        >>> described({"subject": "owl", "colour": "red"}, {"setting": "sea", "time": "night", "weather": "rain"})
        'a red owl on the sea at night, in the rain'
    """
    where, when = PLACES[scene["setting"]], TIMES[scene["time"]]
    return f"a {hero['colour']} {hero['subject']} {where} {when}, {WEATHERS[scene['weather']]}"


def _words(*names: str) -> dict[str, Any]:
    return {name: {"enum": WORLD[name]} for name in names}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
