"""Whether files may be loaded at all: nothing that can run, no way out of the directory, no header that lies.

`refuse` is quick (names, types, headers) and runs before every load of a directory that is not ours; `verify` also
computes the sums that the manifest of the cache promises. Nothing is ever unpickled, imported or followed here.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from adapters.errors import Interrupted, ModelLoadFailed
from adapters.loader.cache import MANIFEST, read_manifest
from adapters.loader.weight_headers import gguf_problems, is_ctranslate2, safetensors_problems

PICKLES = frozenset({".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes of weights that can run code when read, but not CTranslate2's (see `weight_headers.py`)."""
CODE = frozenset({".dll", ".dylib", ".py", ".pyc", ".pyd", ".pyx", ".so"})
LIBRARIES = frozenset({"diffusers", "transformers"})
"""Where the parts of a diffusers pipeline may come from; any other name would be imported as a module."""
PARTS = frozenset(("ltx2", f"LTX2{part}") for part in ("TextConnectors", "Vocoder", "VocoderWithBWE", "DurationHead"))
"""Parts that come from a pipeline's own module within diffusers, which takes its name before any other module's."""
MAX_JSON_BYTES = 64 * 2**20
MAX_FILES = 10_000
VOCABULARIES = frozenset({"tokenizer.json", "vocab.json", "vocabulary.json", "added_tokens.json"})
"""Large tables of words: they configure nothing, so they are not searched."""
CHUNK_BYTES = 4 * 2**20

Told = Callable[[int, int], None]
"""Hears how many bytes of how many have been read. May raise to stop."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of a model's files found."""

    is_valid: bool
    message: str
    """One sentence for people."""
    size_bytes: int
    """Of all files."""
    files: int
    """How many were checked."""
    hashed: bool
    """Whether sums were compared; false where nobody ever promised any (a directory of the operator's own)."""
    problems: tuple[str, ...]
    """One line each, starting with the file's name; empty when valid."""


def refuse(directory: Path, *, whole: bool = True) -> None:
    """Lets through a directory that may be loaded.

    Args:
        directory: Of the model.
        whole: Whether all of its files should be there already.

    Raises:
        ModelLoadFailed: Its first problem.
    """
    for problem in problems_of(directory, whole=whole):
        raise ModelLoadFailed(f"it is refused: {problem}")


def verify(directory: Path, told: Told = lambda done, total: None) -> Verification:
    """Reads all files of a model: headers, and sums where a manifest promises them.

    Args:
        directory: Of the model; of the cache, or of the operator's own.
        told: Hears of progress; called in this thread, a few times a second at most for large files.

    Raises:
        Interrupted: `told` raised it.
    """
    if not directory.is_dir():
        return Verification(False, "There is no such directory.", 0, 0, False, ("the directory is missing",))
    problems = list(problems_of(directory))
    manifest = read_manifest(directory)
    promised = {file["name"]: file for file in manifest["files"]} if manifest else {}
    if manifest is None and (directory / MANIFEST).exists():
        problems.append(f"{MANIFEST}: it cannot be read")
    present = {
        path.relative_to(directory).as_posix(): path.stat().st_size
        for path in _walk(directory)
        if path.is_file() and not path.is_symlink() and path.name != MANIFEST
    }
    total, done = sum(present.values()), 0
    for name, file in promised.items():
        if name not in present:
            problems.append(f"{name}: it is missing")
        elif present[name] != file["size_bytes"]:
            problems.append(f"{name}: it has {present[name]} bytes instead of {file['size_bytes']}")
        else:
            if sha256(directory / name, lambda read, so_far=done: told(so_far + read, total)) != file["sha256"]:
                problems.append(f"{name}: its sum differs")
            done += present[name]
    if promised:
        problems += [f"{name}: it was added later" for name in sorted(present.keys() - promised.keys())]
    if not problems:
        how = "their sums are as promised" if promised else "their headers are sound; nobody promised sums"
        message = f"{len(present)} files, {total} bytes: {how}."
    else:
        message = f"{problems[0]}" + (f", and {len(problems) - 1} more problems" if len(problems) > 1 else "") + "."
    return Verification(not problems, message, total, len(present), bool(promised), tuple(problems))


def sha256(path: Path, read: Callable[[int], None]) -> str:
    """The sum of a file's content in hexadecimal; `read` hears how much of it has been read."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            read(done)
    return digest.hexdigest()


def unsafe_name(name: str) -> bool:
    """Whether a file's name, as someone else wrote it, could lead out of the directory that it is meant for."""
    return (
        not name
        or len(name) > 512
        or name.startswith("/")
        or re.search(r"[\\\x00-\x1f\x7f:]", name) is not None
        or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in name.split("/"))
    )


def refused_suffix(name: str) -> str | None:
    """Why a file of that name is refused, whatever it holds; None: it is not."""
    suffix = Path(name).suffix.lower()
    if suffix in PICKLES:
        return "weights in a format that can run code (pickle)"
    return "code" if suffix in CODE else None


def problems_of(directory: Path, *, whole: bool = True) -> Iterator[str]:
    """All reasons not to load a directory, found without reading weights; a line each, starting with the name."""
    try:
        for count, path in enumerate(_walk(directory)):
            if count > MAX_FILES:
                yield f"more than {MAX_FILES} files"
                return
            name = path.relative_to(directory).as_posix()
            yield from (f"{name}: {problem}" for problem in _of_file(path, name, whole))
    except OSError as error:
        yield f"{Path(error.filename or '').name}: {error.strerror}"


def _walk(directory: Path) -> Iterator[Path]:
    """Everything below that is not a directory. Links are not followed, and come as what they are."""
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield Path(entry.path)


def _of_file(path: Path, name: str, whole: bool) -> Iterator[str]:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        yield "a link"
    elif not stat.S_ISREG(mode):
        yield "not a file (a pipe, a socket or a device)"
    elif unsafe_name(name):
        yield "a name that may lead elsewhere"
    elif path.name == "model.bin" and is_ctranslate2(path):
        return
    elif (why := refused_suffix(name)) is not None:
        yield why
    elif path.suffix == ".safetensors":
        yield from safetensors_problems(path)
    elif path.suffix == ".gguf":
        yield from gguf_problems(path)
    elif path.suffix == ".json" and path.name not in VOCABULARIES:
        yield from _json(path, whole)


def _json(path: Path, whole: bool) -> Iterator[str]:
    if path.stat().st_size > MAX_JSON_BYTES:
        yield "too large for a configuration"
        return
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        yield "not JSON"
        return
    if any("auto_map" in found for found in _objects(content)):
        yield "it names code of its own (auto_map)"
    if isinstance(content, dict):
        content = cast(dict[str, Any], content)
        if path.name == "model_index.json":
            yield from _pipeline(content)
        if path.name.endswith(".index.json"):
            yield from _shards(path, content, whole)


def _objects(content: Any) -> Iterator[dict[str, Any]]:
    todo = [content]
    while todo:
        found = todo.pop()
        if isinstance(found, dict):
            yield cast(dict[str, Any], found)
            todo += cast(dict[str, Any], found).values()
        elif isinstance(found, list):
            todo += cast(list[Any], found)


def _pipeline(index: dict[str, Any]) -> Iterator[str]:
    for name, part in index.items():
        if name == "_class_name":
            if not isinstance(part, str):
                yield "it names a pipeline of its own"
        elif isinstance(part, list) and part and part[0] is not None:
            library, *rest = map(str, cast(list[Any], part))
            if library not in LIBRARIES and (library, *rest) not in PARTS:
                yield f"its part {name[:80]!r} comes from {library[:80]!r}"


def _shards(path: Path, index: dict[str, Any], whole: bool) -> Iterator[str]:
    shards = index.get("weight_map", {})
    names = set(map(str, cast(dict[str, Any], shards).values())) if isinstance(shards, dict) else {""}
    for name in sorted(names):
        if unsafe_name(name) or "/" in name:
            yield f"it names a file elsewhere: {name[:80]!r}"
        elif (why := refused_suffix(name)) is not None:
            yield f"it names {why}: {name[:80]!r}"
        elif whole and not (path.parent / name).is_file():
            yield f"it names a file that is missing: {name[:80]!r}"


def stoppable(stopped: Callable[[], bool]) -> Told:
    """A listener for `verify` that ends it once `stopped` says so."""

    def told(done: int, total: int) -> None:
        del done, total
        if stopped():
            raise Interrupted("The verification was stopped.")

    return told
