"""Downloads model files from a model hub: safetensors, tokenizers and JSON, never code or pickles.

An interrupted download is resumed by this process or a later one, at the same commit and the same byte. Files are
accepted only if their checksums are those that the hub announced for that commit.
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
from adapters.loader.http_download import download_file, downloaded_bytes
from adapters.loader.hub_plan import LAST_SOURCE_TIMEOUT_S, HubFile, Snapshot, is_weights, make_plan
from adapters.loader.verification import CHUNK_BYTES, require_loadable

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
    timeout_s: float = LAST_SOURCE_TIMEOUT_S,
    half: bool = False,
) -> tuple[Snapshot, dict[str, str]]:
    """Fills `work/files` with the repository's files at one commit, with sizes and checksums verified.

    Args:
        source: What to fetch.
        work: A directory for the download. An earlier attempt in it is resumed.
        backend: The backend that will load it.
        report: Called with the progress.
        endpoint: The hub's URL; None: Hugging Face, or what HF_ENDPOINT says.
        timeout_s: For the hub's first answer.
        half: Whether weights in float16 are preferred, where a component has them in float32 as well.

    Returns:
        What was fetched, and the SHA-256 of each file by name.

    Raises:
        ModelLoadFailed: The hub cannot be reached in time, has no such model or sends wrong data, or the files do not
            fit on the disk.
    """
    plan = await make_plan(source, work, backend, endpoint, timeout_s, half=half)
    files = work / "files"
    kept = {file.name: downloaded_bytes(files / file.name, file.size_bytes) for file in plan.files}
    total, done = sum(file.size_bytes for file in plan.files), sum(kept.values())
    extra = 4 if [Path(file.name).suffix for file in plan.files if is_weights(file.name)] == [".gguf"] else 0
    require_space(work, total - done + extra * total)  # A quantized GGUF grows that much when it is unpacked to bf16.
    last_report = 0.0

    def on_bytes(count: int) -> None:
        nonlocal done, last_report
        done += count
        if time.monotonic() - last_report > 0.2 or done >= total:
            last_report = time.monotonic()
            report(LoadProgress("downloading", min(1.0, done / total) if total else None, done, total))

    on_bytes(0)
    await _download(plan, [file for file in plan.files if file.name.endswith(".json")], files, endpoint, on_bytes)
    try:
        await asyncio.to_thread(require_loadable, files, whole=False)  # Before gigabytes are downloaded in vain.
    except ModelLoadFailed:
        shutil.rmtree(work)
        raise
    await _download(plan, plan.files, files, endpoint, on_bytes)
    sums, bad = await _verify_all(plan.files, files, report)
    if again := [file for file in bad if kept[file.name]]:
        # The part from an earlier process was damaged, for example by a power failure. A fresh copy may be right.
        logger.warning(
            "%s: the checksums of %s are wrong; downloading again", source, ", ".join(file.name for file in again)
        )
        done -= sum(file.size_bytes for file in again)
        await _download(plan, again, files, endpoint, on_bytes)
        fresh, still = await _verify_all(again, files, report)
        sums, bad = sums | fresh, [*still, *(file for file in bad if file not in again)]
    if bad:
        raise ModelLoadFailed(f"{bad[0].name} is not the file that the hub announced: its checksum differs")
    return plan, sums


async def _download(
    plan: Snapshot, files: Iterable[HubFile], target: Path, endpoint: str | None, on_bytes: Callable[[int], None]
) -> None:
    """Downloads the files, without checking their content."""
    from huggingface_hub import get_async_session, hf_hub_url

    limit = asyncio.Semaphore(AT_ONCE)
    async with get_async_session() as client:

        async def one(file: HubFile) -> None:
            async with limit:
                url = hf_hub_url(plan.repo, file.name, revision=plan.commit, endpoint=endpoint)
                await download_file(client, url, target / file.name, file.size_bytes, on_bytes)

        tasks = [asyncio.create_task(one(file)) for file in files]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _verify_all(files: Iterable[HubFile], target: Path, report: Report) -> tuple[dict[str, str], list[HubFile]]:
    """SHA-256 by name of the files whose checksums are right, and the other files, which are deleted."""
    loop = asyncio.get_running_loop()
    stopped = threading.Event()
    files = tuple(files)
    total = sum(file.size_bytes for file in files)

    def work() -> tuple[dict[str, str], list[HubFile]]:
        good: dict[str, str] = {}
        bad: list[HubFile] = []
        done, last_report = 0, 0.0
        for file in files:
            sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
            with (target / file.name).open("rb") as content:
                while not stopped.is_set() and (chunk := content.read(CHUNK_BYTES)):
                    sha256.update(chunk)
                    if file.sha256 is None:
                        blob.update(chunk)
                    done += len(chunk)
                    if time.monotonic() - last_report > 0.2:
                        last_report = time.monotonic()
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
