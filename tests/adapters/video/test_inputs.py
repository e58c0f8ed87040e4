"""What a video checkpoint takes, read from its config files; and those of a hostile one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import ROOT

from adapters.base import Keyframe, Media, VideoRequest
from adapters.video.inputs import MAX_CONFIG_BYTES, VideoInputs, find_unsupported, inputs_of

PNG = Media("image/png", b"x")
TEXT, ALL = VideoInputs("none", strength=False, video=False), VideoInputs("any")
FRAMES = VideoInputs("any", video=False)
FIRST = VideoInputs("first", "first", strength=False, video=False)
ENDS = VideoInputs("first_and_last", "first", strength=False, video=False)
BOTH = VideoInputs("first_and_last", "first_and_last", strength=False, video=False)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("LTXPipeline", ALL),
        ("LTXImageToVideoPipeline", ALL),
        ("LTXConditionPipeline", ALL),
        ("LTX2Pipeline", FRAMES),
        ("LTX2ImageToVideoPipeline", FRAMES),
        ("LTX2ConditionPipeline", FRAMES),
        ("WanPipeline", TEXT),
        ("StableDiffusionXLPipeline", None),
        ("os.path", None),
        ("", None),
    ],
)
def test_a_checkpoints_class_says_what_it_takes(tmp_path: Path, name: str, found: VideoInputs | None) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    assert inputs_of("diffusers-video", tmp_path) == found
    assert inputs_of("fake-video", tmp_path) is None


@pytest.mark.parametrize(
    ("index", "transformer", "found"),
    [
        ({"expand_timesteps": True}, {}, FIRST),
        ({}, {"image_dim": 1280}, FIRST),
        ({}, {"image_dim": 1280, "pos_embed_seq_len": None}, FIRST),
        ({}, {"image_dim": 1280, "pos_embed_seq_len": 514}, BOTH),
        ({}, {"image_dim": None}, ENDS),
        ({"transformer": [None, None]}, None, ENDS),
        ({}, None, None),
        ({}, [], None),
        ({}, "x" * MAX_CONFIG_BYTES, None),
    ],
)
def test_wans_transformer_says_which_pictures_it_takes(
    tmp_path: Path, index: dict, transformer: object, found: VideoInputs | None
) -> None:
    index = {"_class_name": "WanImageToVideoPipeline", "transformer": ["diffusers", "X"], **index}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    if transformer is not None:
        (tmp_path / "transformer").mkdir()
        (tmp_path / "transformer" / "config.json").write_text(json.dumps(transformer))
    assert inputs_of("diffusers-video", tmp_path) == found


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b'"WanPipeline"',
        b"null",
        b"{}",
        b'{"_class_name": null}',
        b'{"_class_name": 7}',
        b'{"_class_name": ["WanPipeline"]}',
        b'{"_class_name": {"WanPipeline": 1}}',
        b'{"_class_name": ' + b"9" * 5000 + b"}",
        b"[" * 200_000,
        b'{"_class_name": "WanPipeline", "x": "' + b"a" * MAX_CONFIG_BYTES + b'"}',
    ],
    ids=lambda index: repr(index[:24]),
)
def test_a_hostile_index_says_nothing(tmp_path: Path, index: bytes) -> None:
    (tmp_path / "model_index.json").write_bytes(index)
    assert inputs_of("diffusers-video", tmp_path) is None


def test_an_index_that_is_no_file_says_nothing(tmp_path: Path) -> None:
    assert inputs_of("diffusers-video", tmp_path / "nowhere") is None
    assert inputs_of("diffusers-video", tmp_path) is None
    os.mkfifo(tmp_path / "model_index.json")  # whoever opens it waits
    assert inputs_of("diffusers-video", tmp_path) is None
    (tmp_path / "model_index.json").unlink()
    (tmp_path / "model_index.json").mkdir()
    assert inputs_of("diffusers-video", tmp_path) is None


def test_no_engine_is_loaded_to_know() -> None:
    code = (
        "import sys; from pathlib import Path; from adapters.video.inputs import inputs_of;"
        "assert inputs_of('diffusers-video', Path('starter/checkpoints/video')).keyframes == 'any';"
        "sys.exit(bool({'torch', 'diffusers', 'transformers', 'av', 'PIL'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("can", "frames", "found"),
    [
        (ALL, (0, 7, -1), None),
        (ALL, (), None),
        (TEXT, (), None),
        (TEXT, (0,), ("keyframe", 0)),
        (FIRST, (0,), None),
        (FIRST, (-25,), None),
        (FIRST, (), ("first_frame", 0)),
        (FIRST, (0, 24), ("keyframe", 1)),
        (ENDS, (0, 24), None),
        (ENDS, (-1, 0), None),
        (ENDS, (0,), None),
        (ENDS, (-1,), ("first_frame", 0)),
        (ENDS, (0, 23), ("keyframe", 1)),
        (ENDS, (0, 1, 24), ("keyframe", 1)),
        (BOTH, (0, 24), None),
        (BOTH, (0,), ("last_frame", 0)),
        (BOTH, (24,), ("first_frame", 0)),
    ],
)
def test_pictures_are_taken_where_the_model_takes_them(
    can: VideoInputs, frames: tuple[int, ...], found: tuple[str, int] | None
) -> None:
    request = VideoRequest("x", num_frames=25, keyframes=tuple(Keyframe(PNG, index) for index in frames))
    missing = find_unsupported(request, can)
    assert (None if missing is None else (missing.input, missing.keyframe)) == found


def test_strengths_and_videos_are_taken_or_not() -> None:
    weak = VideoRequest("x", num_frames=25, keyframes=(Keyframe(PNG, 0, 0.5),))
    assert find_unsupported(weak, ALL) is None
    missing = find_unsupported(weak, ENDS)
    assert missing is not None
    assert missing.input == "keyframe"
    source = VideoRequest("x", source=Media("video/mp4", path="x"))
    assert find_unsupported(source, ALL) is None
    missing = find_unsupported(source, TEXT)
    assert missing is not None
    assert missing.input == "video"
