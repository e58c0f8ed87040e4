"""The examples of the pages, run as they are printed: on a server of fakes that has the names of the starter profile.

- `python`: the blocks of a page are one program, run from top to bottom in a folder with the files that they name.
- `bash`: `curl` and the light `muybridge` commands are run; of all others it is checked that the command, its
  subcommands, its script and its options exist.
- `yaml`: `muybridge config check` reads it.
- `json`: it is JSON.

A block that cannot run says why after its language: "python no-run: needs a GPU".
"""

import io
import json
import os
import re
import shlex
import subprocess
import wave
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.pages import PAGES, ROOT, Block, blocks
from support.servers import Running, serving
from support.videos import clip

from adapters import hardware
from server.commands.config import check_file
from server.commands.main import build_parser

ADDRESS = "http://127.0.0.1:8000"
"""Where the pages say that the server is."""
EXAMPLES = [block for page in PAGES for block in blocks(page) if page.parent != ROOT or page.name == "README.md"]
MAX_NOT_RUN = 4
MODELS = "profiles: {mine: {models: [whisper-base]}}\n"
OTHERS = ("git", "pip", "docker")
"""Programs of others: not run, and not checked."""
LIGHT = ("config", "models list")
"""Commands of `muybridge` that need no network, no server and no model."""
CATALOG = """
profiles:
  pages:
    models: [fake-text, fake-vision, fake-embedding, fake-speech, fake-voice, fake-image, fake-video]
    aliases:
      gpt-4o: fake-text
      starter-vision: fake-vision
      text-embedding-3-small: fake-embedding
      whisper-1: fake-speech
      whisper-base: fake-speech
      tts-1: fake-voice
      gpt-image-1: fake-image
      sora-2: fake-video
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of fakes under the names that the pages use."""
    folder = tmp_path_factory.mktemp("pages")
    (catalog := folder / "catalog.yaml").write_text(CATALOG)
    with serving(folder, profile="pages", MUYBRIDGE_CATALOG=str(catalog)) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that examples read. The fake hears WAV alone, under any name."""
    from PIL import Image

    (tmp_path / "examples").mkdir()
    with wave.open(str(tmp_path / "examples" / "narration.ogg"), "wb") as audio:
        audio.setparams((1, 2, 16000, 32000, "NONE", ""))
        audio.writeframes(bytes(64000))
    Image.new("RGB", (64, 64), "orange").save(tmp_path / "fox.png")
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(tmp_path / "mask.png")
    (tmp_path / "holiday.mov").write_bytes(clip(frames=9, size=(64, 64)))
    for name, text in (("models.yaml", MODELS), ("muybridge.yaml", "port: 9000\n")):
        (tmp_path / name).write_text(text)
    return tmp_path


def examples(language: str) -> list[Any]:
    """The blocks of a language that can run, as parameters of a test."""
    return [
        pytest.param(block, id=str(block))
        for block in EXAMPLES
        if block.language == language and not block.note.startswith("no-run:")
    ]


PROGRAMS = {
    page: [block for block in EXAMPLES if block.page == page and block.language == "python" and not block.note]
    for page in PAGES
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # examples leave files and clients to the garbage collector
@pytest.mark.parametrize("page", [page for page in PROGRAMS if PROGRAMS[page]], ids=lambda page: page.name)
def test_python(page: Path, server: Running, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    for block in PROGRAMS[page]:
        program = "\n" * (block.line - 1) + block.code.replace(ADDRESS, server.url)  # errors name the page's lines
        exec(compile(program, page, "exec"), names)


@pytest.mark.slow
@pytest.mark.parametrize("block", examples("bash"))
def test_bash(block: Block, server: Running, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("MUYBRIDGE_")]:
        monkeypatch.delenv(variable)
    machine = hardware.find()
    idle = tuple(replace(device, free_bytes=device.total_bytes) for device in machine.devices)
    monkeypatch.setattr(hardware, "find", lambda: replace(machine, devices=idle))  # other tests may fill it just now
    monkeypatch.chdir(folder)
    for other in EXAMPLES:  # files that the page shows, with their name in the first line
        if other.page == block.page and (named := re.match(r"# (\S+\.yaml)\n", other.code)):
            (folder / named[1]).write_text(other.code)
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            check_command(words, server)


@pytest.mark.parametrize("block", examples("yaml"))
def test_yaml(block: Block, folder: Path) -> None:
    (path := folder / "page.yaml").write_text(block.code)
    assert check_file(path)["errors"] == []


@pytest.mark.parametrize("block", examples("json"))
def test_json(block: Block) -> None:
    json.loads(block.code)


def test_every_block_says_what_it_is() -> None:
    unknown = [
        str(block)
        for block in EXAMPLES
        if block.language not in ("python", "bash", "yaml", "json", "") or (block.note and ": " not in block.note)
    ]
    assert not unknown
    assert len([block for block in EXAMPLES if block.note]) <= MAX_NOT_RUN


def check_command(words: list[str], server: Running) -> None:
    """Runs a command of a page, or checks that there is such a command with such options."""
    program, *rest = words
    if program == "curl":
        asked = [word.replace(ADDRESS, server.url) for word in rest]
        assert asked != rest, "the command calls no server"
        done = subprocess.run(["curl", "--fail-with-body", "--silent", "--show-error", *asked], capture_output=True)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    elif program == "muybridge":
        arguments = build_parser().parse_args(rest)  # exits where there is no such command or option
        if " ".join(rest).startswith(LIGHT):
            with redirect_stdout(io.StringIO()):
                assert arguments.run(arguments) == 0, words
    elif program == "make":
        assert rest, "plain `make` says nothing to a reader"
        done = subprocess.run(["make", "--dry-run", *rest], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif program == "python":
        script, source = _source(rest)
        options = {word for word in rest if re.match("--[a-z]", word)}
        missing = {option for option in options if f'"{option}"' not in source}
        assert not missing, f"{script} has no {missing}"
    else:
        assert program in OTHERS, f"a command that no test knows: {words}"


def _source(arguments: list[str]) -> tuple[str, str]:
    """The script or module that Python is given, and its text."""
    name = arguments[1].replace(".", "/") if arguments[0] == "-m" else arguments[0]
    if name == "pytest":
        assert all((ROOT / path).exists() for path in arguments[2:] if path.startswith("tests"))
        return name, ""
    paths = [ROOT / name, ROOT / f"{name}.py", ROOT / name / "__main__.py"]
    path = next((path for path in paths if path.is_file()), None)
    assert path is not None, f"there is no {name}"
    return name, path.read_text("utf-8")
