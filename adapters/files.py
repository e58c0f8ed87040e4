"""Files that survive a power cut: written under a temporary name, flushed, and renamed into place.

In the lowest layer, beside `errors`, because all layers above write files: catalog, loader, server storage.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """Writes a file so that readers see either all of it or what was there before.

    Args:
        path: The file. Its directory is created where it is missing.
        data: Its new content.

    Raises:
        OSError: The file cannot be written. No temporary file is left behind.
    """
    _write(path, data, Path.replace)


def create_file(path: Path, data: bytes) -> None:
    """Writes a file unless it exists: of several processes that do so at the same time, one has its data written.

    Raises:
        OSError: The file cannot be written. No temporary file is left behind.
    """
    with suppress(FileExistsError):
        _write(path, data, lambda temporary, target: target.hardlink_to(temporary))


def _write(path: Path, data: bytes, publish: Callable[[Path, Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def move_file(source: Path, target: Path) -> None:
    """Flushes a finished file and moves it to its final name on the same file system. The directory may be missing.

    Raises:
        OSError: The file cannot be flushed or moved.
    """
    sync(source)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    source.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Flushes a file's bytes, or the names in a directory, to the disk.

    Raises:
        OSError: The path cannot be opened or flushed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_fp16(name: str) -> bool:
    """Whether a file holds the float16 variant of weights, in the naming of model hubs: `model.fp16.safetensors`.

    Examples:
        >>> is_fp16("model.fp16-00001-of-00002.safetensors"), is_fp16("model.safetensors.index.fp16.json")
        (True, True)
    """
    return ".fp16." in name or ".fp16-" in name
