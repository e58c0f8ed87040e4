"""The models on this machine's disk: their directories, manifests, and when they were last used.

cache_dir/
  NAME/                 ready to load; `muybridge.json` in it has the source, and sizes and checksums of the files
  .NAME.accessed        its modification time is when NAME was last fetched for loading
  .NAME.lock            locked by the process that fetches or removes NAME
  .NAME.hub/            an unfinished download from a model hub; the next attempt continues it
  .NAME.packages/       the same of wheels
  .NAME~RANDOM/         a fetch in progress; renamed to NAME as the last step, and removed by the next fetch otherwise
"""

import json
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from adapters.errors import ModelBusy, ModelLoadFailed, ModelNotFound

MANIFEST = "muybridge.json"
"""The last file that is written into a model's directory. A directory without it is not a model."""
MARGIN_BYTES = 256 * 2**20
"""Free disk space that a download leaves for others."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model whose files are all in the cache."""

    name: str
    path: Path
    size_bytes: int
    downloaded_at: int
    """Unix time."""
    last_accessed_at: int
    """Unix time; the time of the download if it was not loaded since."""
    source: str
    """As written in the catalog."""
    commit: str | None
    """Of the hub repository; None: another source."""


def directory_of(cache_dir: Path, name: str) -> Path:
    """The directory of a model in the cache, whether it exists or not.

    Raises:
        ModelLoadFailed: The name is not valid.
    """
    if len(name) > 200 or _NAME.fullmatch(name) is None:
        raise ModelLoadFailed(
            "A model's name must be made of at most 200 letters, digits, dots, hyphens and underscores."
        )
    return cache_dir / name.replace("/", "--")


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a directory of the cache; None: it has no valid one."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
        valid = isinstance(manifest["source"], str) and all(
            isinstance(file["name"], str) and isinstance(file["sha256"], str) and isinstance(file["size_bytes"], int)
            for file in manifest["files"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return cast(dict[str, Any], manifest) if valid else None


def list_cached(cache_dir: Path) -> list[CachedModel]:
    """All models of the cache, by name."""
    found: list[CachedModel] = []
    for path in sorted(cache_dir.iterdir()) if cache_dir.is_dir() else ():
        if path.name.startswith(".") or (manifest := read_manifest(path)) is None:
            continue
        downloaded = int(manifest.get("fetched_at") or 0)
        found.append(
            CachedModel(
                name=str(manifest.get("name") or path.name.replace("--", "/", 1)),
                path=path,
                size_bytes=sum(file["size_bytes"] for file in manifest["files"]),
                downloaded_at=downloaded,
                last_accessed_at=max(downloaded, _accessed(path)),
                source=manifest["source"],
                commit=manifest.get("commit"),
            )
        )
    return found


def find_cached(cache_dir: Path, name: str) -> CachedModel | None:
    """One model of the cache."""
    return next((model for model in list_cached(cache_dir) if model.name == name), None)


def mark_accessed(directory: Path) -> None:
    """Records that a model of the cache is about to be loaded."""
    with suppress(OSError):  # A read-only cache can still be loaded from.
        _sibling(directory, "accessed").touch()


def delete(cache_dir: Path, name: str) -> int:
    """Removes a model and its unfinished downloads. Returns the number of bytes freed.

    Raises:
        ModelNotFound: The cache has nothing of it.
        ModelBusy: It is being fetched.
    """
    try:
        directory = directory_of(cache_dir, name)
    except ModelLoadFailed as error:
        raise ModelNotFound(error.message) from None
    paths = [directory, *(_sibling(directory, suffix) for suffix in ("hub", "packages"))]
    if not any(path.exists() for path in paths):
        raise ModelNotFound(f"The model {name!r} is not in the cache.")
    try:
        with FileLock(lock_path(directory), timeout=0):
            trash = Path(tempfile.mkdtemp(prefix=f".{directory.name}~", dir=cache_dir))
            size = 0
            for path in paths:
                with suppress(FileNotFoundError):
                    os.rename(
                        path, trash / path.name
                    )  # Atomic: from here on it is not a model, even if this process dies.
                    size += size_of(trash / path.name)
            shutil.rmtree(trash)
            _sibling(directory, "accessed").unlink(missing_ok=True)
            return size
    except Timeout:
        raise ModelBusy(f"The model {name!r} is being fetched; wait for that or cancel it first.") from None


def lock_path(directory: Path) -> Path:
    """The file that a process locks while it changes a model of the cache."""
    return _sibling(directory, "lock")


def partial_download(directory: Path, kind: str) -> Path:
    """The directory of a model's unfinished download; kind "hub" or "packages"."""
    return _sibling(directory, kind)


def size_of(directory: Path) -> int:
    """Bytes of all files in a directory tree, which may change meanwhile."""
    size = 0
    for path in directory.rglob("*"):
        with suppress(OSError):
            size += path.lstat().st_size if path.is_file() else 0
    return size


def require_space(directory: Path, needed_bytes: int) -> None:
    """Checks that a download fits on the disk.

    Args:
        directory: The target directory.
        needed_bytes: Bytes still to be written.

    Raises:
        ModelLoadFailed: It does not fit; the message has the numbers.
    """
    free = shutil.disk_usage(directory).free
    if needed_bytes + MARGIN_BYTES > free:
        raise ModelLoadFailed(f"it needs {gigabytes(needed_bytes)} more on the disk, and {gigabytes(free)} are free")


def gigabytes(size: int) -> str:
    """A size as text, in powers of ten: "1.26 GB"."""
    return f"{size / 1e9:,.2f} GB"


def _sibling(directory: Path, suffix: str) -> Path:
    return directory.with_name(f".{directory.name}.{suffix}")


def _accessed(directory: Path) -> int:
    try:
        return int(_sibling(directory, "accessed").stat().st_mtime)
    except OSError:
        return 0
