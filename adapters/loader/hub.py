"""Model files from a model hub, where one can be reached: safetensors, tokenizers and JSON, never code or pickles.

A download that breaks off is continued, by this process or the next one: at the same commit, from the byte where it
stopped. What has arrived is believed only once its sum is the one that the hub announced for that commit.
"""

import asyncio
import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from adapters.base import LoadProgress, Report
from adapters.catalog.sources import HubSource
from adapters.errors import ModelLoadFailed
from adapters.loader.cache import require_space
from adapters.loader.http_download import here_of, transfer
from adapters.loader.hub_plan import PATIENCE_S, HubFile, Snapshot, is_weights, planned
from adapters.loader.verification import CHUNK_BYTES, refuse

T = TypeVar("T")

logger = logging.getLogger(__name__)

AT_ONCE = 4
"""Files that are downloaded at the same time."""


async def fetch_hub(
    source: HubSource,
    work: Path,
    backend: str,
    report: Report,
    *,
    endpoint: str | None = None,
    probe_s: float = PATIENCE_S,
) -> tuple[Snapshot, dict[str, str]]:
    """Fills `work/files` with the repository's files, at one commit, verified by size and by sum.

    Args:
        source: What to fetch.
        work: A directory for the download. What lies there from an earlier attempt is continued.
        backend: Who will load it.
        report: Hears of progress.
        endpoint: The hub's URL; None: Hugging Face, or what HF_ENDPOINT says.
        probe_s: How long the hub may take to answer at all.

    Returns:
        What was fetched, and the SHA-256 of each file by name.

    Raises:
        ModelLoadFailed: The hub cannot be reached in time, has no such model, delivers something else, or the files do
            not fit on the disk.
    """
    plan = await planned(source, work, backend, endpoint, probe_s)
    files = work / "files"
    here = {file.name: here_of(files / file.name, file.size_bytes) for file in plan.files}
    total, done = sum(file.size_bytes for file in plan.files), sum(here.values())
    extra = 4 if [Path(file.name).suffix for file in plan.files if is_weights(file.name)] == [".gguf"] else 0
    require_space(work, total - done + extra * total)  # A quantized GGUF grows so when it is unpacked to bf16.
    told = 0.0

    def arrived(count: int) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told > 0.2 or done >= total:
            told = time.monotonic()
            report(LoadProgress("downloading", min(1.0, done / total) if total else None, done, total))

    arrived(0)
    await _download(plan, [file for file in plan.files if file.name.endswith(".json")], files, endpoint, arrived)
    try:
        await asyncio.to_thread(refuse, files, whole=False)  # Before gigabytes are fetched for nothing.
    except ModelLoadFailed:
        shutil.rmtree(work)
        raise
    await _download(plan, plan.files, files, endpoint, arrived)
    sums, bad = await _sums(plan.files, files, report)
    if again := [file for file in bad if here[file.name]]:
        # What an earlier process left was damaged: perhaps the machine lost power. A fresh copy may be right.
        logger.warning("%s: %s came out wrong, and is fetched anew", source, ", ".join(file.name for file in again))
        done -= sum(file.size_bytes for file in again)
        await _download(plan, again, files, endpoint, arrived)
        fresh, still = await _sums(again, files, report)
        sums, bad = sums | fresh, [*still, *(file for file in bad if file not in again)]
    if bad:
        raise ModelLoadFailed(f"{bad[0].name} is not what the hub announced: its sum differs")
    return plan, sums


async def _download(
    plan: Snapshot, files: Iterable[HubFile], target: Path, endpoint: str | None, arrived: Callable[[int], None]
) -> None:
    """All bytes of the files, whatever they are."""
    from huggingface_hub import get_async_session, hf_hub_url

    turns = asyncio.Semaphore(AT_ONCE)
    async with get_async_session() as client:

        async def one(file: HubFile) -> None:
            async with turns:
                url = hf_hub_url(plan.repo, file.name, revision=plan.commit, endpoint=endpoint)
                await transfer(client, url, target / file.name, file.size_bytes, arrived)

        tasks = [asyncio.create_task(one(file)) for file in files]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _sums(files: Iterable[HubFile], target: Path, report: Report) -> tuple[dict[str, str], list[HubFile]]:
    """SHA-256 by name of the files that are what was announced, and the others, which are removed."""
    loop = asyncio.get_running_loop()
    stopped = threading.Event()
    files = tuple(files)
    total = sum(file.size_bytes for file in files)

    def work() -> tuple[dict[str, str], list[HubFile]]:
        good: dict[str, str] = {}
        bad: list[HubFile] = []
        done, told = 0, 0.0
        for file in files:
            sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
            with (target / file.name).open("rb") as content:
                while not stopped.is_set() and (chunk := content.read(CHUNK_BYTES)):
                    sha256.update(chunk)
                    if file.sha256 is None:
                        blob.update(chunk)
                    done += len(chunk)
                    if time.monotonic() - told > 0.2:
                        told = time.monotonic()
                        progress = LoadProgress("verifying", min(1.0, done / total), done, total)
                        loop.call_soon_threadsafe(report, progress)
            if stopped.is_set():
                break
            if (sha256.hexdigest() if file.sha256 else blob.hexdigest()) == (file.sha256 or file.blob_id):
                good[file.name] = sha256.hexdigest()
            else:
                bad.append(file)
                (target / file.name).unlink()
        return good, bad

    report(LoadProgress("verifying", 0.0, 0, total))
    try:
        return await asyncio.to_thread(work)
    finally:
        stopped.set()
