"""The examples of vision, run as a user runs them, on the starter's eyes."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import ROOT, Running

from starter.drawing import draw
from starter.training.images import random_scenes


def run(server: Running, script: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / script), *arguments]
    env = {**os.environ, "OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "unused"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0 or "refused to answer" in done.stderr, done.stderr
    return done.stdout


def test_both_validators_work_with_nothing_but_chat(starter_server: Running, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in ("one", "two")]
    for seed, path in enumerate(paths):
        draw(random_scenes(1, random.Random(seed))[0]).save(path)
    lines = run(starter_server, "judge_scenes.py", "a fox", *map(str, paths)).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["one.png", "two.png"] + ["one.png, two.png"] * 3


def test_a_calibration_is_fitted(starter_server: Running, tmp_path: Path) -> None:
    lines = []
    for seed, scene in enumerate(random_scenes(6, random.Random(3))):
        draw(scene).save(tmp_path / f"{seed}.png")
        lines.append({"image": f"{seed}.png", "question": f"Is there a {scene.subject}?", "answer": "yes"})
        lines.append(
            {
                "image": f"{seed}.png",
                "question": "When is it?",
                "options": ["day", "twilight", "night"],
                "answer": scene.time,
            }
        )
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text("\n".join(map(json.dumps, lines)))
    said = run(starter_server, "calibrate.py", "starter-vision", str(labelled))
    assert not said or "judge_temperature" in said


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5])
def test_the_temperature_that_made_the_answers_is_found(true: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import calibrate

    rng, answers = random.Random(1), []
    for _ in range(3000):
        sure = rng.uniform(0.5, 0.99)
        logits = [sure ** (1 / true), (1 - sure) ** (1 / true)]
        right = 0 if rng.random() < logits[0] / sum(logits) else 1
        answers.append(([sure, 1 - sure], right))
    assert calibrate.fit(answers) == pytest.approx(true, rel=0.15)
