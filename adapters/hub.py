"""Model files from a model hub, where one can be reached: safetensors, tokenizers and JSON, never code or pickles.

A download that breaks off is continued, by this process or the next one: at the same commit, from the byte where it
stopped. What has arrived is believed only once its sum is the one that the hub announced for that commit.
"""

import asyncio
import hashlib
import json
import logging
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from adapters.base import LoadProgress, Report
from adapters.cache import require_space
from adapters.errors import ModelLoadFailed
from adapters.sources import HubSource
from adapters.verification import CHUNK_BYTES, refused_suffix, unsafe_name

T = TypeVar("T")

logger = logging.getLogger(__name__)

PROBE_S = 2.0
"""How long a hub may take to answer before the next source is tried."""
PATIENCE_S = 30.0
"""How long it may take where there is no other source."""
STALL_S = 20.0
"""A connection from which nothing comes for so long is given up, and the download continued on another."""
RETRIES = 5
"""So often in a row a file is continued without a single new byte; then the download fails, and can be resumed."""
BACKOFF_S = 0.5
"""Before the first retry; doubled for each further one, up to `MAX_BACKOFF_S`, and spread at random."""
MAX_BACKOFF_S = 10.0
AT_ONCE = 4
"""Files that are downloaded at the same time."""
WRITE_BYTES = 2**20
WRITE_S = 0.5
"""What has come is written out when it is so much, or so old: it is what a killed process leaves to the next."""

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model")
"""What is taken from a repository. Pickles (`*.bin`, `*.pt`) and code (`*.py`) stay there."""

BACKEND_PATTERNS = {
    "faster-whisper": ("model.bin", "config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*")
}
"""CTranslate2 calls its weights `model.bin`; they are plain numbers (`adapters/verification.py` looks inside)."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub announces it; one of the two sums is set."""

    name: str
    size_bytes: int
    sha256: str | None
    blob_id: str | None
    """Of small files: the SHA-1 of git's blob."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is to be downloaded: some files of a repository at one commit."""

    source: str
    """As the configuration writes it."""
    repo: str
    commit: str
    files: tuple[HubFile, ...]


class _Broken(Exception):
    """The connection did not deliver what was asked for; another try may."""


class _Useless(_Broken):
    """And what is here cannot be continued: the next try begins at the first byte."""


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
    plan = await _planned(source, work, backend, endpoint, probe_s)
    files = work / "files"
    here = {file.name: _here(files, file) for file in plan.files}
    total, done = sum(file.size_bytes for file in plan.files), sum(here.values())
    extra = 4 if [Path(file.name).suffix for file in plan.files if _weights(file.name)] == [".gguf"] else 0
    require_space(work, total - done + extra * total)  # A quantized GGUF grows so when it is unpacked to bf16.
    told = 0.0

    def arrived(count: int) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told > 0.2 or done >= total:
            told = time.monotonic()
            report(LoadProgress("downloading", min(1.0, done / total) if total else None, done, total))

    arrived(0)
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


async def _planned(source: HubSource, work: Path, backend: str, endpoint: str | None, probe_s: float) -> Snapshot:
    """What to download: what an earlier attempt had begun, or else what the source means now."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    before = await asyncio.to_thread(_read_plan, work, str(source))
    try:
        if before is not None:
            try:
                plan = await _resolve(source, before.commit, backend, endpoint, probe_s)
            except (RepositoryNotFoundError, RevisionNotFoundError):
                before, plan = None, await _resolve(source, source.revision, backend, endpoint, probe_s)
        else:
            plan = await _resolve(source, source.revision, backend, endpoint, probe_s)
    except ModelLoadFailed:
        raise
    except Exception as error:  # Its errors are many and change: whatever it is, the next source is tried.
        logger.info("%s: %r", source, error)
        raise ModelLoadFailed(_why(error)) from error
    await asyncio.to_thread(_write_plan, work, plan, before)
    return plan


def _why(error: Exception) -> str:
    """A hub's refusal in words."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "its licence must be accepted at the hub first; then set HF_TOKEN to a token of that account"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the model hub does not have it, or needs a token (HF_TOKEN) to show it"
    return "the model hub cannot be reached, or does not have it"


async def _resolve(
    source: HubSource, revision: str | None, backend: str, endpoint: str | None, probe_s: float
) -> Snapshot:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    info = await _within(probe_s, lambda: api.model_info(source.repo, revision=revision, files_metadata=True))
    if not info.sha or not info.sha.isalnum():
        raise ModelLoadFailed("the hub does not say which commit it has")
    wanted = _wanted(info.siblings or [], source, backend)
    return Snapshot(str(source), source.repo, info.sha, tuple(map(_announced, wanted)))


def _wanted(files: list[Any], source: HubSource, backend: str) -> list[Any]:
    patterns = (source.file,) if source.file else BACKEND_PATTERNS.get(backend, PATTERNS)
    wanted = [file for file in files if any(fnmatch(file.rfilename, pattern) for pattern in patterns)]
    if not source.file:  # Repositories keep other formats in folders: "original/consolidated.safetensors".
        wanted = [file for file in wanted if "/" not in file.rfilename or backend.startswith("diffusers")]
    if not any(_weights(file.rfilename) for file in wanted):
        raise ModelLoadFailed("the repository holds no file that may be loaded (safetensors, CTranslate2 or GGUF)")
    return wanted


def _weights(name: str) -> bool:
    return name.endswith((".safetensors", ".gguf")) or name == "model.bin"


def _announced(file: Any) -> HubFile:
    """A file of the hub's list.

    Raises:
        ModelLoadFailed: Its name leads elsewhere, it is never loaded, or the hub does not say what it must be.
    """
    name = str(file.rfilename)
    sha256 = file.lfs.sha256 if file.lfs is not None else None
    if unsafe_name(name):
        raise ModelLoadFailed(f"it holds a file of a name that may lead elsewhere: {name[:80]!r}")
    if name != "model.bin" and (why := refused_suffix(name)) is not None:
        raise ModelLoadFailed(f"{name} is {why}")
    if not isinstance(file.size, int) or file.size < 0 or not (sha256 or file.blob_id):
        raise ModelLoadFailed(f"the hub does not say what {name} must be")
    return HubFile(name, file.size, sha256, None if sha256 else file.blob_id)


def _read_plan(work: Path, source: str) -> Snapshot | None:
    try:
        plan = json.loads((work / "plan.json").read_text("utf-8"))
        found = Snapshot(plan["source"], plan["repo"], plan["commit"], tuple(HubFile(**file) for file in plan["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.source == source else None


def _write_plan(work: Path, plan: Snapshot, before: Snapshot | None) -> None:
    if plan != before:  # Of another commit: nothing of it is of use.
        shutil.rmtree(work, ignore_errors=True)
    (work / "files").mkdir(parents=True, exist_ok=True)
    for path in (work / "files").rglob("*"):  # What a later stage may have added.
        name = path.relative_to(work / "files").as_posix().removesuffix(".part")
        if not path.is_dir() and all(file.name != name for file in plan.files):
            path.unlink()
    temporary = work / "plan.json.new"
    temporary.write_text(json.dumps(asdict(plan)), "utf-8")
    temporary.replace(work / "plan.json")


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _here(files: Path, file: HubFile) -> int:
    """How much of a file is here; one that is too long is removed."""
    path = files / file.name
    for candidate in (path, _part(path)):
        if candidate.is_file() and candidate.stat().st_size > file.size_bytes:
            candidate.unlink()
    if path.is_file() and path.stat().st_size == file.size_bytes:
        return file.size_bytes
    path.unlink(missing_ok=True)
    return _part(path).stat().st_size if _part(path).is_file() else 0


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
                await _insist(client, url, file, target / file.name, arrived)

        tasks = [asyncio.create_task(one(file)) for file in files]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _insist(client: Any, url: str, file: HubFile, path: Path, arrived: Callable[[int], None]) -> None:
    """One file, however often the connection breaks, as long as each few tries bring something new."""
    import httpx2

    part = _part(path)
    furthest = start = await asyncio.to_thread(_open, path, file)
    failures = 0
    while start < file.size_bytes:
        try:
            await _continue(client, url, file, part, start, arrived)
            why = "it ended early"
        except (httpx2.HTTPError, _Broken) as error:
            why = str(error) or type(error).__name__
            if isinstance(error, _Useless):
                arrived(-await asyncio.to_thread(_empty, part))
        start = await asyncio.to_thread(_size, part)
        failures = 0 if start > furthest else failures + 1
        furthest = max(furthest, start)
        if start < file.size_bytes:
            logger.info("%s: %s after %d of %d bytes", file.name, why, start, file.size_bytes)
            if failures > RETRIES:
                raise ModelLoadFailed(
                    f"the download of {file.name} broke off after {start} of {file.size_bytes} bytes ({why}); "
                    "the next attempt goes on from there"
                )
            pause = min(MAX_BACKOFF_S, BACKOFF_S * 2 ** max(0, failures - 1))
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - not a secret
    if part.exists():
        part.replace(path)


async def _continue(
    client: Any, url: str, file: HubFile, part: Path, start: int, arrived: Callable[[int], None]
) -> None:
    """Adds to a file what one connection delivers, from byte `start` on.

    Raises:
        _Broken, httpx2.HTTPError: It ended in another way than with the last byte.
        ModelLoadFailed: The hub will never deliver it.
    """
    import httpx2
    from huggingface_hub.utils import build_hf_headers

    headers = {**build_hf_headers(), "accept-encoding": "identity"}
    if start:
        headers["range"] = f"bytes={start}-"
    async with client.stream("GET", url, headers=headers, timeout=httpx2.Timeout(STALL_S)) as reply:
        expected = f"bytes {start}-{file.size_bytes - 1}/{file.size_bytes}"
        if reply.status_code == 416:
            raise _Useless("the hub refused to continue")
        if reply.status_code in (401, 403, 404, 410, 451):
            raise ModelLoadFailed(f"the hub answered {reply.status_code} to the request for {file.name}")
        if reply.status_code not in (200, 206):
            raise _Broken(f"the hub answered {reply.status_code}")
        if reply.headers.get("content-encoding", "identity") != "identity":
            raise _Useless("the hub compressed what it was asked to send as it is")
        if reply.status_code == 206 and (not start or reply.headers.get("content-range") != expected):
            raise _Useless("the hub sent another part of the file")
        if reply.status_code == 200 and start:  # It cannot continue: all of it comes again.
            arrived(-await asyncio.to_thread(_empty, part))
            start = 0
        left, waiting, written = file.size_bytes - start, bytearray(), time.monotonic()
        try:
            async for chunk in reply.aiter_raw():
                waiting += chunk
                left -= len(chunk)
                if left < 0:
                    waiting.clear()
                    raise _Useless("it is longer than the hub announced")
                if len(waiting) >= WRITE_BYTES or time.monotonic() - written >= WRITE_S:
                    full, waiting, written = waiting, bytearray(), time.monotonic()
                    await _written(part, full)
                    arrived(len(full))
        except httpx2.TimeoutException:
            raise _Broken(f"nothing came for {STALL_S:g} s") from None
        finally:
            if waiting:
                _append(part, waiting)
                arrived(len(waiting))


def _open(path: Path, file: HubFile) -> int:
    """Makes room for a file; returns how much of it is here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return file.size_bytes
    _part(path).touch()
    return _size(_part(path))


def _size(path: Path) -> int:
    return path.stat().st_size


def _empty(path: Path) -> int:
    """Removes a file's content; returns how much there was."""
    size = _size(path)
    path.write_bytes(b"")
    return size


async def _written(path: Path, content: bytearray) -> None:
    """Adds to a file without holding up the loop; is over when it returns, also when it is cancelled."""
    writing = asyncio.create_task(asyncio.to_thread(_append, path, content))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


def _append(path: Path, content: bytearray) -> None:
    with path.open("ab") as out:
        out.write(content)


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


async def _within(seconds: float, call: Callable[[], T]) -> T:
    """What the call returns, if it does so in time. Else it is left behind: a name server can hang for a minute."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if not future.done():
            future.set_exception(error) if error is not None else future.set_result(result)  # pyright: ignore

    def work() -> None:
        try:
            outcome = call(), None
        except Exception as error:
            outcome = None, error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=work, name="hub-probe", daemon=True).start()
    return await asyncio.wait_for(future, seconds)
