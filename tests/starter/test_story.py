"""The story's world is the starter's; its scripts and its sheet hold what they say."""

import random
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from starter.clips import HINTS, frames, make_clip
from starter.drawing import draw
from starter.lexicon import named
from starter.training.images import random_scenes
from starter.world import ATTRIBUTES

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_its_words_are_the_worlds():
    import story_world

    assert {name: list(values) for name, values in ATTRIBUTES.items()} == story_world.WORLD
    assert set(story_world.MOTIONS) <= {hint for hints in HINTS.values() for hint in hints}


def test_its_descriptions_name_what_is_meant_and_nothing_else():
    import story_world

    rng = random.Random(1)
    for scene in random_scenes(100, rng):
        values = dict(zip(ATTRIBUTES, scene.values(), strict=True))
        assert named(story_world.described(values, values)) == values


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_its_schema_lets_no_two_scenes_share_a_place(count: int):
    import story_world

    schema = story_world.schema(count, {"type": "string"})
    settings = [schema["properties"][f"scene_{n}"]["properties"]["setting"]["enum"] for n in range(1, count + 1)]
    dealt = [setting for some in settings for setting in some]
    assert len(dealt) == len(set(dealt)) == 6
    written: dict[str, Any] = {"title": "A title", "hero": {"subject": "owl", "colour": "red"}}
    for number, some in enumerate(settings, 1):
        words = {"time": "night", "weather": "rain", "motion": "it rises", "narration": "It rains."}
        written[f"scene_{number}"] = {"setting": some[0], **words}
    assert set(written) == set(schema["required"])
    scenes = story_world.script(written)["scenes"]
    assert [named(scene["description"])["setting"] for scene in scenes] == [some[0] for some in settings]


def test_its_sheet_shows_keyframes_scores_and_frames(tmp_path: Path):
    import story_sheet

    scenes, keyframes, clips, validations = [], list[Path](), list[Path](), []
    for number, scene in enumerate(random_scenes(3, random.Random(2))):
        keyframes.append(tmp_path / f"{number}.png")
        draw(scene).save(keyframes[-1])
        clips.append(tmp_path / f"{number}.mp4")
        write(frames(make_clip(scene, "left")), clips[-1])
        scenes.append({"description": "a scene", "motion": "it drifts to the left"})
        missing = [{"text": "rain", "probability": 0.1}]
        validations.append(
            [{"is_valid": at == number, "match_score": 0.9, "mismatched_elements": missing} for at in range(3)]
        )
    story_sheet.draw_sheet("A title", scenes, keyframes, clips, validations, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 6 * story_sheet.SIDE
        place = sheet.crop((8, 66, 8 + story_sheet.SIDE, 66 + story_sheet.SIDE))
        with Image.open(keyframes[0]) as keyframe:
            assert place.tobytes() == keyframe.convert("RGB").resize(place.size).tobytes()
    assert len(story_sheet.frames(clips[0])) == story_sheet.FRAMES


def write(images: list[Image.Image], path: Path) -> None:
    with av.open(path, "w") as clip:
        stream = clip.add_stream("libx264", rate=24)
        stream.width, stream.height = images[0].size
        for image in images:
            clip.mux(stream.encode(av.VideoFrame.from_image(image)))
        clip.mux(stream.encode(None))
