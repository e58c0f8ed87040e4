"""`serve --config story.yaml`: settings, models and profiles in one file; and misspelt environment variables."""

import re
from pathlib import Path

import pytest
from support.servers import ROOT, muybridge, serving

from server.commands.config import check_file
from server.settings import Settings, misspelt

STORY = """\
# everything in one file
profile: story
log_level: warning
models:
  talk: {kind: text, backend: fake-text, options: {supports_images: false}}
  ears: {kind: speech, model: whisper-small, compute_type: int8, device: cpu}
profiles:
  story:
    models: [talk, fake-image, ears]
    aliases: {gpt-4o: talk}
"""


def test_one_file_has_settings_models_and_profiles(tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    path.write_text(STORY)
    assert (check_file(path)["what"], check_file(path)["errors"]) == ("settings and a catalog", [])
    with serving(tmp_path, profile="story", MUYBRIDGE_CONFIG=str(path)) as server:
        client = server.sdk(strict=False)
        assert {model.id for model in client.models.list()} >= {"talk", "fake-image", "ears"}
        reply = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
        assert "hello" in (reply.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("log_level: warning", "log_level: loud", ":3: log_level: Input should be "),
        ("log_level: warning", "log_lovel: info", ":3: log_lovel: there is no such key"),
        ("profile: story", "profile: tale", ":2: profile: there is no profile 'tale'; choose one of "),
        ("backend: fake-text", "backend: vlm", ":5: models.talk.backend: there is no backend 'vlm'"),
        ("supports_images: false", "supports: false", ":5: models.talk.options.supports: there is no such "),
        ("whisper-small", "whisper-smal", ":6: models.ears.model: 'whisper-smal' is not in the catalog"),
        ("kind: speech", "kind: image", ":6: models.ears.kind: 'whisper-small' is a model of kind speech, not image"),
        ("compute_type: int8", "compute_type: int3", ":6: models.ears.compute_type: Input should be "),
        ("compute_type: int8", "context_length: 100", ":6: models.ears.context_length: cannot be set for "),
        ("device: cpu", "batch_size: 4", ":6: models.ears.batch_size: cannot be set for "),
        ("device: cpu", "num_frames: 9", ":6: models.ears.num_frames: cannot be set for "),
        ("fake-image, ears", "fake-image, eers", ":9: profiles.story.models.2: there is no model 'eers'"),
        ("gpt-4o: talk", "gpt-4o: tall", ":10: profiles.story.aliases.gpt-4o: refers to 'tall'"),
        ("models:\n  talk", "models: [\n  talk", ":6: "),
    ],
)
def test_promise_30_serve_and_check_find_the_same_mistake(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    assert old in STORY
    path.write_text(STORY.replace(old, new, 1))
    (checked,) = check_file(path)["errors"]
    assert message in checked
    ended = muybridge("serve", "--config", str(path), MUYBRIDGE_DATA_DIR=str(tmp_path), MUYBRIDGE_PORT="0")
    assert (ended.returncode, ended.stderr) == (2, f"muybridge: {checked}\n")


@pytest.mark.parametrize("name", ["story.yaml", "story-24.yaml", "story-80.yaml"])
def test_the_files_of_the_documentation_are_valid(name: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "real-models.md").read_text("utf-8")
    (text,) = re.findall(rf"```yaml\n(# {re.escape(name)}\n.*?)```", page, re.DOTALL)
    (tmp_path / name).write_text(text)
    assert check_file(tmp_path / name)["errors"] == []


def test_a_model_of_the_operators_catalog_can_be_served_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models.yaml").write_text("models:\n  own: {kind: text, backend: fake-text}\n")
    path = tmp_path / "story.yaml"
    path.write_text(f"data_dir: {tmp_path / 'data'}\nprofile: story\nprofiles:\n  story: {{models: [own]}}\n")
    assert check_file(path)["errors"] == []
    shown = muybridge("config", "show", "--config", str(path), "--json")
    assert shown.returncode == 0, shown.stderr
    assert '"own"' in shown.stdout


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("MUYBRIDGE_API_KEY", "MUYBRIDGE_API_KEYS"),
        ("MUYBRIDGE_PROT", "MUYBRIDGE_PORT"),
        ("muybridge_cachedir", "MUYBRIDGE_CACHE_DIR"),
        ("MUYBRIDGE_", "MUYBRIDGE_"),
        ("MUYBRIDGE_" + "X" * 5000, "MUYBRIDGE_"),
    ],
)
def test_promise_30_a_misspelt_variable_ends_the_start(variable: str, nearest: str, tmp_path: Path) -> None:
    ended = muybridge("serve", MUYBRIDGE_DATA_DIR=str(tmp_path), **{variable: "sk-canary"})
    assert ended.returncode == 2
    assert f"{variable}: there is no such setting; the nearest is {nearest}" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "canary" not in ended.stderr


def test_other_variables_are_left_alone() -> None:
    kubernetes = ["MUYBRIDGE_SERVICE_HOST", "MUYBRIDGE_SERVICE_PORT_HTTP", "MUYBRIDGE_PORT_8000_TCP_ADDR"]
    settings = [f"MUYBRIDGE_{name.upper()}" for name in Settings.model_fields]
    assert misspelt([*kubernetes, *settings, "MUYBRIDGE_CONFIG", "MUYBRIDGE_URL", "MUYBRIDG_PORT", "PATH"]) == []
