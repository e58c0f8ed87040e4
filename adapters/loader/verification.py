"""Checks whether files may be loaded: no executable code, no paths out of the directory, no false headers.

`require_loadable` is fast (names, types, headers) and runs before every load of an operator's directory; `verify` also
compares checksums with the manifest of the cache. Nothing is unpickled or imported, and no link is followed.
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
"""Libraries that components of a diffusers pipeline may come from; any other name would be imported as a module."""
PIPELINE_MODULE_CLASSES = frozenset(
    ("ltx2", f"LTX2{part}") for part in ("TextConnectors", "Vocoder", "VocoderWithBWE", "DurationHead")
)
"""Component classes in a pipeline's own module within diffusers, which is looked up before other modules."""
LIBRARY_QUANTIZATIONS = frozenset({"aqlm", "bitsandbytes", "eetq", "gguf", "hqq", "quanto", "torchao"})
"""Quantizations that need a library which no extra of pyproject.toml brings."""
MAX_JSON_BYTES = 64 * 2**20
MAX_FILES = 10_000
VOCABULARIES = frozenset({"tokenizer.json", "vocab.json", "vocabulary.json", "added_tokens.json"})
"""Large vocabularies: they configure nothing, so they are not searched."""
CHUNK_BYTES = 4 * 2**20

OnProgress = Callable[[int, int], None]
"""Called with (bytes read, total bytes). It may raise to stop."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of checking a model's files."""

    is_valid: bool
    message: str
    """One sentence."""
    size_bytes: int
    """Of all files."""
    files: int
    """Number of files checked."""
    hashed: bool
    """Whether checksums were compared; False: there are none (a directory of the operator)."""
    problems: tuple[str, ...]
    """One line each, starting with the file's name; empty when valid."""


def require_loadable(directory: Path, *, whole: bool = True) -> None:
    """Checks that a directory may be loaded.

    Args:
        directory: Of the model.
        whole: Whether all of its files must be there already.

    Raises:
        ModelLoadFailed: It must not be loaded; the message has the first problem.
    """
    for problem in find_problems(directory, whole=whole):
        raise ModelLoadFailed(f"its files must not be loaded: {problem}")


def verify(directory: Path, on_progress: OnProgress = lambda done, total: None) -> Verification:
    """Checks all files of a model: headers, and checksums where there is a manifest.

    Args:
        directory: Of the model, in the cache or of the operator.
        on_progress: Called in this thread, a few times a second at most for large files.

    Raises:
        Interrupted: `on_progress` raised it.
    """
    if not directory.is_dir():
        return Verification(False, "The model's directory does not exist.", 0, 0, False, ("the directory is missing",))
    problems = list(find_problems(directory))
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
            if sha256(directory / name, lambda read, so_far=done: on_progress(so_far + read, total)) != file["sha256"]:
                problems.append(f"{name}: its checksum differs")
            done += present[name]
    if promised:
        problems += [f"{name}: it was added later" for name in sorted(present.keys() - promised.keys())]
    if not problems:
        how = "their checksums are right" if promised else "their headers are valid; there are no checksums to compare"
        message = f"{len(present)} files, {total} bytes: {how}."
    else:
        message = f"{problems[0]}" + (f", and {len(problems) - 1} more problems" if len(problems) > 1 else "") + "."
    return Verification(not problems, message, total, len(present), bool(promised), tuple(problems))


def sha256(path: Path, read: Callable[[int], None]) -> str:
    """SHA-256 of a file in hexadecimal; `read` is called with the bytes read so far."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            read(done)
    return digest.hexdigest()


def is_unsafe_name(name: str) -> bool:
    """Whether an untrusted file name could lead out of its directory."""
    return (
        not name
        or len(name) > 512
        or name.startswith("/")
        or re.search(r"[\\\x00-\x1f\x7f:]", name) is not None
        or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in name.split("/"))
    )


def forbidden_suffix(name: str) -> str | None:
    """Why a file of that name must not be loaded, whatever its content; None: it may be."""
    suffix = Path(name).suffix.lower()
    if suffix in PICKLES:
        return "weights in a format that can run code (pickle)"
    return "code" if suffix in CODE else None


def find_problems(directory: Path, *, whole: bool = True) -> Iterator[str]:
    """All reasons not to load a directory, found without reading weights: lines that start with a file's name."""
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
    """All entries of the tree that are not directories. Links are not followed, but listed as links."""
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield Path(entry.path)


def _of_file(path: Path, name: str, whole: bool) -> Iterator[str]:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        yield "it is a link; replace it by the file"
    elif not stat.S_ISREG(mode):
        yield "it is not a regular file (a pipe, a socket or a device)"
    elif is_unsafe_name(name):
        yield "its name may lead out of the directory"
    elif path.name == "model.bin" and is_ctranslate2(path):
        return
    elif (why := forbidden_suffix(name)) is not None:
        yield why
    elif path.suffix == ".safetensors":
        yield from safetensors_problems(path)
    elif path.suffix == ".gguf":
        yield from gguf_problems(path)
    elif path.suffix == ".json" and path.name not in VOCABULARIES:
        yield from _json(path, whole)


def _json(path: Path, whole: bool) -> Iterator[str]:
    if path.stat().st_size > MAX_JSON_BYTES:
        yield f"it is too large for a JSON configuration (more than {MAX_JSON_BYTES} bytes)"
        return
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        yield "it is not JSON"
        return
    yield from json_problems(path.name, content)
    if isinstance(content, dict) and path.name.endswith(".index.json"):
        yield from _shards(path, cast(dict[str, Any], content), whole)


def json_problems(name: str, content: Any) -> Iterator[str]:
    """Why a JSON file of that name must not be loaded, whatever is beside it."""
    if any("auto_map" in found for found in _objects(content)):
        yield "it asks for code of the repository (auto_map)"
    if isinstance(content, dict):
        content = cast(dict[str, Any], content)
        if name == "config.json" and _quantization(content) in LIBRARY_QUANTIZATIONS:
            yield (
                f"its weights are quantized with {_quantization(content)}, and that library is not installed; use a "
                "checkpoint in 16 bit, AWQ, GPTQ or FP8"
            )
        if name == "model_index.json":
            yield from _pipeline(content)


def _quantization(config: dict[str, Any]) -> str:
    """The quantization that a config names; "" if it names none."""
    found = config.get("quantization_config")
    return str(cast(dict[str, Any], found).get("quant_method", "")) if isinstance(found, dict) else ""


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
    for name, component in index.items():
        if name == "_class_name":
            if not isinstance(component, str):
                yield "it asks for a pipeline class of the repository"
        elif isinstance(component, list) and component and component[0] is not None:
            library, *rest = map(str, cast(list[Any], component))
            if library not in LIBRARIES and (library, *rest) not in PIPELINE_MODULE_CLASSES:
                yield f"its component {name[:80]!r} comes from the library {library[:80]!r}, which is not allowed"


def _shards(path: Path, index: dict[str, Any], whole: bool) -> Iterator[str]:
    shards = index.get("weight_map", {})
    names = set(map(str, cast(dict[str, Any], shards).values())) if isinstance(shards, dict) else {""}
    for name in sorted(names):
        if is_unsafe_name(name) or "/" in name:
            yield f"it names a file outside of the directory: {name[:80]!r}"
        elif (why := forbidden_suffix(name)) is not None:
            yield f"it names {why}: {name[:80]!r}"
        elif whole and not (path.parent / name).is_file():
            yield f"it names a file that is missing: {name[:80]!r}"


def stoppable(stopped: Callable[[], bool]) -> OnProgress:
    """An `on_progress` for `verify` that stops it once `stopped` returns True."""

    def on_progress(done: int, total: int) -> None:
        del done, total
        if stopped():
            raise Interrupted("The verification was stopped.")

    return on_progress
