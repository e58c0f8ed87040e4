"""The starter checkpoints: built the same every time, small, and loadable by the libraries that serve them."""

import filecmp
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from starter.build import CHECKPOINTS, MODELS, build, main
from starter.drawing import draw
from starter.questions import choice
from starter.words import WORDS, clip_tokenizer, qwen2_tokenizer, t5_tokenizer
from starter.world import scenes

SHARED = ("vae/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", MODELS)
def test_two_builds_are_byte_identical(name: str, tmp_path: Path):
    """In two processes with different hash seeds: sets and hash maps must not decide anything."""
    command = [sys.executable, "-m", "starter.build", name, "--out", str(tmp_path / "other")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7"}, cwd=CHECKPOINTS.parent.parent)
    folder = build(name, tmp_path)
    assert files(folder) == files(tmp_path / "other" / name)
    assert filecmp.cmpfiles(folder, tmp_path / "other" / name, files(folder), shallow=False)[1:] == ([], [])


def card(name: str) -> str:
    return (CHECKPOINTS / name / "README.md").read_text()


@pytest.mark.parametrize("name", MODELS)
def test_the_scripts_make_what_is_committed(name: str, tmp_path: Path):
    """Configurations, tokenizers, and the names and shapes of weights; what the weights are, only a training makes."""
    if "UNTRAINED" in card(name):
        pytest.skip("A placeholder, until `python -m starter.training.export` replaces it.")
    folder = build(name, tmp_path)
    assert files(folder) == files(CHECKPOINTS / name)
    texts = [file for file in files(folder) if not file.endswith((".safetensors", "README.md"))]
    assert filecmp.cmpfiles(folder, CHECKPOINTS / name, texts, shallow=False)[1:] == ([], [])
    for file in (file for file in files(folder) if file.endswith(".safetensors")):
        with safe_open(folder / file, "pt") as made, safe_open(CHECKPOINTS / name / file, "pt") as committed:
            assert list(made.keys()) == list(committed.keys())
            for weight in made.keys():  # noqa: SIM118 (safe_open is no dict)
                one, other = made.get_slice(weight), committed.get_slice(weight)
                assert (one.get_shape(), one.get_dtype()) == (other.get_shape(), other.get_dtype()), weight


def test_checkpoints_stay_small_and_say_what_they_can():
    sizes = {
        name: sum((CHECKPOINTS / name / file).stat().st_size for file in files(CHECKPOINTS / name)) for name in MODELS
    }
    sizes["image-loras"] = (CHECKPOINTS / "image-loras" / "old-print.safetensors").stat().st_size
    assert max(sizes.values()) < 18e6
    # What the refiner has in common with the image model is in git once, and so it is in memory.
    shared = sum((CHECKPOINTS / "refiner" / part).stat().st_size for part in SHARED)
    for part in SHARED:
        assert filecmp.cmp(CHECKPOINTS / "refiner" / part, CHECKPOINTS / "image" / part, shallow=False)
    assert sum(sizes.values()) - shared < 40e6
    for name in MODELS:
        assert "UNTRAINED" in card(name) or ("## Measured" in card(name) and "Nothing yet" not in card(name))


def test_the_command_refuses_an_unknown_model(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["sound"])
    assert "no such model: sound" in capsys.readouterr().err


def test_every_word_is_one_token_and_any_text_survives():
    clip, t5 = clip_tokenizer("!"), t5_tokenizer()
    qwen2 = qwen2_tokenizer({"image_token": "<image>"}, 64)
    for word in (*WORDS, "Yes", "No"):
        assert len(qwen2.tokenize(word)) == len(qwen2.tokenize(" " + word)) == 1
    for word in WORDS:
        assert len(clip.tokenize(word)) == len(t5.tokenize(word)) == 1
    for text in ("zebra é 😀\n\t{}", "<image> yes"):
        assert qwen2.decode(qwen2(text).input_ids) == text
    assert clip.unk_token_id not in clip("zebra é 😀", add_special_tokens=False).input_ids


def test_vision_loads_whole_and_answers_about_a_picture():
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = str(CHECKPOINTS / "vision")
    model, info = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    assert not any(info.values()), info
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    rng = random.Random(1)
    scene = next(scenes(held=True, seed=1))
    asked = choice(scene, rng)
    image = {"type": "image", "image": draw(scene)}
    messages = [{"role": "user", "content": [image, {"type": "text", "text": asked.text}]}]
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert (inputs["input_ids"] == model.config.image_token_index).sum() <= 136
    made = model.generate(**inputs.to(model.dtype), max_new_tokens=4, do_sample=False)
    answer = processor.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert answer.strip() == asked.answer  # and it stops there


def test_vision_template_takes_plain_and_structured_content():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(CHECKPOINTS / "vision"), local_files_only=True)
    parts = [{"type": "image_url"}, {"type": "text", "text": "hi"}]
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\n<image>\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_vision_weights_bear_the_names_of_published_checkpoints():
    with safe_open(CHECKPOINTS / "vision" / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
    assert "vision_tower.vision_model.embeddings.position_embedding.weight" in names
    assert "language_model.lm_head.weight" in names
    assert "image_newline" in names
    assert {name.split(".")[0] for name in names} == {
        "vision_tower", "language_model", "multi_modal_projector", "image_newline"
    }  # fmt: skip
