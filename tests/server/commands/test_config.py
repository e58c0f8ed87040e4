"""`muybridge config` and `muybridge doctor`, as processes and in this one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.servers import muybridge

from server.commands.config import EXAMPLE, check_file
from server.commands.main import build_parser

ROOT = Path(__file__).parents[3]
BROKEN = ROOT / "tests" / "data" / "broken"
FILES = sorted(path for path in BROKEN.iterdir() if path.name != "README.md")

MESSAGES = {
    "01-unknown-backend.yaml": "4: models.mine.backend: there is no backend 'vlm'; use one of vllm, faster-whisper, ",
    "02-wrong-kind.yaml": "4: models.ears.kind: backend 'vllm' runs models of kind text or vision, not speech",
    "03-misspelt-key.yaml": "5: models.mine.soruces: there is no such key",
    "04-bad-source.yaml": "7: models.mine.sources.1: write hf://org/name, a path, or a mapping with `packages:` and ",
    "05-bad-option.yaml": "8: models.mine.options.kv_cache_gib: Input should be greater than 0",
    "06-alias-of-nothing.yaml": "8: profiles.all.aliases.whisper-1: refers to 'ears', which is not among the models of this profile",
    "07-profile-of-nothing.yaml": "5: profiles.all.models.1: there is no model 'whisper-basis'",
    "08-not-yaml.yaml": "4: ",
    "09-key-twice.yaml": "4: models.mine: duplicate key; the first is in line 2",
    "10-settings.yaml": "2: port: Input should be a valid integer, unable to parse string as an integer",
    "11-model.json": "4: compute_type: Input should be 'auto', 'float32', 'float16', ",
    "12-unusable-model.yaml": "3: profiles.eyes.models.0: 'phi-3.5-vision' cannot be loaded: ",
}


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """(exit status, standard output) of a command, run in this process."""
    parsed = build_parser().parse_args(arguments)
    status = parsed.run(parsed)
    return status, capsys.readouterr().out


def test_all_broken_files_are_known() -> None:
    assert {path.name for path in FILES} == MESSAGES.keys()


@pytest.mark.parametrize("name", MESSAGES)
def test_promise_30_a_broken_file_gives_one_precise_message(name: str) -> None:
    path = BROKEN / name
    result = check_file(path)
    assert len(result["errors"]) == 1
    assert result["errors"][0].startswith(f"{path}:{MESSAGES[name]}")


def test_check_tells_of_all_files_and_fails() -> None:
    ended = muybridge("config", "check", str(EXAMPLE), *map(str, FILES))
    assert ended.returncode == 2
    lines = ended.stdout.splitlines()
    assert lines[0] == f"ok: {EXAMPLE} (a catalog)"
    assert len(lines) == 1 + len(MESSAGES)
    assert all(line.startswith("error: ") for line in lines[1:])
    assert ended.stderr == ""


def test_check_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.yaml").write_text("profile: fake\nport: 8001\n")
    (tmp_path / "speech.yaml").write_text("kind: speech\nmodel: whisper-small\nbatch_size: 2\ndevice: cpu\n")
    paths = [str(tmp_path / "settings.yaml"), str(tmp_path / "speech.yaml")]
    status, output = run("config", "check", "--json", *paths, capsys=capsys)
    settings, speech = json.loads(output)
    assert status == 0
    assert settings == {
        "path": paths[0], "what": "settings", "errors": [], "warnings": [], "recommendations": {},
        "estimated_memory_bytes": None,
    }  # fmt: skip
    assert speech["warnings"][0].startswith(f"{paths[1]}:3: batch_size: has no effect")
    assert 0.5e9 < speech["estimated_memory_bytes"] < 2e9


def test_check_of_settings_blames_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("profile: nowhere\n")
    ended = muybridge("config", "check", str(tmp_path / "s.yaml"), MUYBRIDGE_PORT="eighty")
    assert ended.stdout.startswith(
        f"error: {tmp_path}/s.yaml:1: profile: there is no profile 'nowhere'; choose one of starter"
    )


@pytest.mark.parametrize("kind", [None, "video-generation", "speech"])
def test_what_init_writes_passes_check(kind: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new.yaml"
    chosen = ["--kind", kind] if kind else []
    assert run("config", "init", str(path), *chosen, capsys=capsys) == (0, f"wrote {path}\n")
    result = check_file(path)
    assert all("needs" in error for error in result["errors"])  # on this machine it may not fit
    assert muybridge("config", "init", str(path)).stderr == (
        f"muybridge: {path}: the file exists; use --force to replace it\n"
    )


def test_show_prints_settings_and_no_keys() -> None:
    ended = muybridge("config", "show", "--profile", "small", "--json", MUYBRIDGE_API_KEYS="sk-canary")
    assert ended.returncode == 0
    assert "canary" not in ended.stdout
    shown: dict[str, Any] = json.loads(ended.stdout)
    assert shown["settings"]["profile"] == "small"
    kinds = [model["kind"] for model in shown["models"].values()]
    assert kinds == ["text", "vision", "embedding", "speech", "voice", "image"]
    table = muybridge("config", "show", "--profile", "small", COLUMNS="200")
    assert "gpt-image-1" in table.stdout


def test_doctor_tells_hardware_versions_and_what_fits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "c.yaml")
    status, output = run("doctor", "--json", "--all", "--catalog", str(tmp_path / "c.yaml"), capsys=capsys)
    report = json.loads(output)
    assert status == 0
    assert report["hardware"]["devices"][-1]["kind"] == "cpu"
    assert report["versions"]["torch"].startswith("2.13.0")
    models = {model["name"]: model for model in report["models"]}
    assert models["starter-image"]["fits"]
    assert models["starter-image"]["profiles"] == ["starter"]
    assert not models["phi-3.5-vision"]["fits"]
    assert "auto_map" in models["phi-3.5-vision"]["why_not"]
    assert models["qwen2.5-14b-instruct"]["estimated_memory_bytes"] > 34e9
    table = muybridge("doctor", COLUMNS="200")
    assert table.returncode == 0
    assert "starter-video" in table.stdout
    assert "sdxl" not in table.stdout
