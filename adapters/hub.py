"""Model files from a model hub, where one can be reached: safetensors, tokenizers and JSON, never code or pickles."""

import asyncio
import hashlib
import logging
import shutil
import threading
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from adapters.base import LoadProgress, Report
from adapters.errors import ModelLoadFailed
from adapters.packages import size_of
from adapters.sources import HubSource

T = TypeVar("T")

logger = logging.getLogger(__name__)

PROBE_S = 2.0
"""How long a hub may take to answer before the next source is tried."""

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model")
"""What is taken from a repository. Pickles (`*.bin`, `*.pt`) and code (`*.py`) stay there."""

BACKEND_PATTERNS = {
    "faster-whisper": ("model.bin", "config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*")
}
"""CTranslate2 calls its weights `model.bin`; they are plain numbers (a pickle under that name does not load)."""


async def fetch_hub(
    source: HubSource, target: Path, backend: str, report: Report, *, endpoint: str | None = None
) -> None:
    """Fills `target` with the repository's files, at one commit, verified by size and by sum where the hub has one.

    Args:
        source: What to fetch.
        target: An empty directory; worthless unless this returns.
        backend: Who will load it.
        report: Hears of progress.
        endpoint: The hub's URL; None: Hugging Face, or what HF_ENDPOINT says.

    Raises:
        ModelLoadFailed: The hub cannot be reached within two seconds, has no such model, or delivered something else.
    """
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi(endpoint=endpoint)
    try:
        info = await _within(
            PROBE_S, lambda: api.model_info(source.repo, revision=source.revision, files_metadata=True)
        )
        wanted = _wanted(info.siblings or [], source, backend)
        total = sum(file.size or 0 for file in wanted)
        report(LoadProgress("downloading", 0.0))
        download = asyncio.create_task(
            asyncio.to_thread(
                snapshot_download,
                source.repo,
                revision=info.sha,
                local_dir=target,
                allow_patterns=[file.rfilename for file in wanted],
                endpoint=endpoint,
            )
        )
        while not (await asyncio.wait([download], timeout=0.5))[0]:
            report(LoadProgress("downloading", min(1.0, size_of(target) / total) if total else None))
        await download
    except ModelLoadFailed:
        raise
    except Exception as error:  # Its errors are many and change: whatever it is, the next source is tried.
        logger.info("%s: %r", source, error)
        raise ModelLoadFailed("the model hub cannot be reached, or does not have it") from error
    shutil.rmtree(target / ".cache", ignore_errors=True)
    report(LoadProgress("verifying"))
    await asyncio.to_thread(_verify, target, wanted)


def _wanted(files: list[Any], source: HubSource, backend: str) -> list[Any]:
    patterns = (source.file,) if source.file else BACKEND_PATTERNS.get(backend, PATTERNS)
    wanted = [file for file in files if any(fnmatch(file.rfilename, pattern) for pattern in patterns)]
    if not source.file:  # Repositories keep other formats in folders: "original/consolidated.safetensors".
        wanted = [file for file in wanted if "/" not in file.rfilename or backend.startswith("diffusers")]
    if not wanted:
        raise ModelLoadFailed("the repository holds no file that may be loaded (safetensors, CTranslate2 or GGUF)")
    return wanted


def _verify(target: Path, wanted: list[Any]) -> None:
    for file in wanted:
        path = target / file.rfilename
        if path.is_symlink() or not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
            raise ModelLoadFailed(f"{file.rfilename} did not arrive whole")
        if file.lfs is not None:
            with path.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != file.lfs.sha256:
                    raise ModelLoadFailed(f"{file.rfilename} is not what the hub announced: its sum differs")


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
