"""The models on this machine's disk: their directories, manifests, and when they were last used.

cache_dir/
  NAME/                 ready to load; `muybridge.json` in it says where from, with sizes and sums
  .NAME.accessed        its time is when NAME was last fetched for loading
  .NAME.lock            held by whoever fetches or removes NAME
  .NAME.hub/            files of a model hub on their way: what is there is not downloaded again
  .NAME.packages/       wheels on their way
  .NAME~RANDOM/         a fetch in progress; renamed to NAME as its last act, swept by the next one if it broke off
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
"""Written last into a directory of the cache. Without it, the directory is not a model."""
MARGIN_BYTES = 256 * 2**20
"""What a download leaves free on the disk, for everyone else."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model whose files are in the cache, whole."""

    name: str
    path: Path
    size_bytes: int
    downloaded_at: int
    """Unix time."""
    last_accessed_at: int
    """Unix time; that of the download where it was never loaded since."""
    source: str
    """As the configuration writes it."""
    commit: str | None
    """Of the hub's repository; None where it came from elsewhere."""


def directory_of(cache_dir: Path, name: str) -> Path:
    """Where a model of that name lies, or would.

    Raises:
        ModelLoadFailed: No model can have that name.
    """
    if len(name) > 200 or _NAME.fullmatch(name) is None:
        raise ModelLoadFailed("A model's name is made of letters, digits, dots, hyphens and underscores.")
    return cache_dir / name.replace("/", "--")


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a directory of the cache; None where there is none, or it is not one."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
        sound = isinstance(manifest["source"], str) and all(
            isinstance(file["name"], str) and isinstance(file["sha256"], str) and isinstance(file["size_bytes"], int)
            for file in manifest["files"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return cast(dict[str, Any], manifest) if sound else None


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


def touch(directory: Path) -> None:
    """Notes that a model of the cache is about to be loaded."""
    with suppress(OSError):  # A cache that cannot be written may still be read.
        _beside(directory, "accessed").touch()


def delete(cache_dir: Path, name: str) -> int:
    """Removes a model, and what is left of attempts to fetch it. Returns how many bytes that gave back.

    Raises:
        ModelNotFound: Nothing of it is here.
        ModelBusy: It is being fetched.
    """
    try:
        directory = directory_of(cache_dir, name)
    except ModelLoadFailed as error:
        raise ModelNotFound(error.message) from None
    doomed = [directory, *(_beside(directory, suffix) for suffix in ("hub", "packages"))]
    if not any(path.exists() for path in doomed):
        raise ModelNotFound(f"The model {name!r} is not in the cache.")
    try:
        with FileLock(lock_path(directory), timeout=0):
            grave = Path(tempfile.mkdtemp(prefix=f".{directory.name}~", dir=cache_dir))
            size = 0
            for path in doomed:
                with suppress(FileNotFoundError):
                    os.rename(path, grave / path.name)  # At once: from here on it is not a model, whatever happens.
                    size += size_of(grave / path.name)
            shutil.rmtree(grave)
            _beside(directory, "accessed").unlink(missing_ok=True)
            return size
    except Timeout:
        raise ModelBusy(f"The model {name!r} is being fetched.") from None


def lock_path(directory: Path) -> Path:
    """The file whose lock is held by whoever changes a model of the cache."""
    return _beside(directory, "lock")


def partial(directory: Path, kind: str) -> Path:
    """Where an unfinished download of a model is kept: kind "hub" or "packages"."""
    return _beside(directory, kind)


def size_of(directory: Path) -> int:
    """Bytes of all files below; those that come and go meanwhile count or not."""
    size = 0
    for path in directory.rglob("*"):
        with suppress(OSError):
            size += path.lstat().st_size if path.is_file() else 0
    return size


def require_space(directory: Path, needed_bytes: int) -> None:
    """Lets through a download that fits on the disk.

    Args:
        directory: Where it goes.
        needed_bytes: What is still to be written.

    Raises:
        ModelLoadFailed: It does not fit; the message has the numbers.
    """
    free = shutil.disk_usage(directory).free
    if needed_bytes + MARGIN_BYTES > free:
        raise ModelLoadFailed(f"it needs {gigabytes(needed_bytes)} more on the disk, and {gigabytes(free)} are free")


def gigabytes(size: int) -> str:
    """A size for people: "1.26 GB"; powers of ten, as hubs and disks count."""
    return f"{size / 1e9:,.2f} GB"


def _beside(directory: Path, suffix: str) -> Path:
    return directory.with_name(f".{directory.name}.{suffix}")


def _accessed(directory: Path) -> int:
    try:
        return int(_beside(directory, "accessed").stat().st_mtime)
    except OSError:
        return 0
