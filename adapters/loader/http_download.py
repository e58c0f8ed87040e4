"""Downloads one file over HTTP, and resumes at the byte where a connection broke.

An unfinished file is `NAME.part`; it is renamed to `NAME` when it is complete. The caller checks that the bytes are the
right ones (`adapters/loader/hub.py`).
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.errors import ModelLoadFailed

logger = logging.getLogger(__name__)

STALL_S = 20.0
"""A connection without data for this long is closed, and the download continues on a new one."""
RETRIES = 5
"""Consecutive attempts without a new byte before the download fails. A later download resumes it."""
BACKOFF_S = 0.5
"""Delay before the first retry; doubled for each further one, up to `MAX_BACKOFF_S`, with random jitter."""
MAX_BACKOFF_S = 10.0
WRITE_BYTES = 2**20
WRITE_S = 0.1
"""Received data is written to the file at this size or age, so that a killed process loses little."""
PERMANENT_STATUS = frozenset({401, 403, 404, 410, 451})
"""Status codes that a retry does not change."""


class _ConnectionBroken(Exception):
    """The connection failed; another attempt may succeed."""


class _CannotResume(_ConnectionBroken):
    """The download cannot be resumed; the next attempt starts at the first byte."""


def downloaded_bytes(path: Path, size: int) -> int:
    """Bytes of a file that are already downloaded. A file that is too long is removed."""
    part = _part(path)
    for candidate in (path, part):
        if candidate.is_file() and candidate.stat().st_size > size:
            candidate.unlink()
    if path.is_file() and path.stat().st_size == size:
        return size
    path.unlink(missing_ok=True)
    return part.stat().st_size if part.is_file() else 0


async def download_file(client: Any, url: str, path: Path, size: int, on_bytes: Callable[[int], None]) -> None:
    """Downloads a file; retries as long as the attempts bring new bytes.

    Cancelling is safe: nothing is written after it returns.

    Args:
        client: An `httpx2.AsyncClient`.
        url: Of the file, on a model hub.
        path: The target file.
        size: Bytes that it must have.
        on_bytes: Called with the number of new bytes; negative where bytes were discarded.

    Raises:
        ModelLoadFailed: The file is not available, or the connection kept failing.
    """
    import httpx2

    part = _part(path)
    most = start = await asyncio.to_thread(_open, path, size)
    failures = 0
    while start < size:
        try:
            await _continue(client, url, part, start, size, on_bytes)
            why = "it ended early"
        except (httpx2.HTTPError, _ConnectionBroken) as error:
            why = str(error) or type(error).__name__
            if isinstance(error, _CannotResume):
                on_bytes(-await asyncio.to_thread(_empty, part))
        start = await asyncio.to_thread(_size, part)
        failures = 0 if start > most else failures + 1
        most = max(most, start)
        if start < size:
            logger.info("%s: %s after %d of %d bytes", path.name, why, start, size)
            if failures > RETRIES:
                raise ModelLoadFailed(
                    f"the download of {path.name} stopped after {start} of {size} bytes ({why}); "
                    "try again, and it continues from there"
                )
            pause = min(MAX_BACKOFF_S, BACKOFF_S * 2 ** max(0, failures - 1))
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - not a secret
    if part.exists():
        part.replace(path)


async def _continue(client: Any, url: str, part: Path, start: int, size: int, on_bytes: Callable[[int], None]) -> None:
    """Appends the data of one connection to a file, from byte `start` on.

    Raises:
        _ConnectionBroken, httpx2.HTTPError: It ended before the last byte.
        ModelLoadFailed: The hub refuses the request.
    """
    import httpx2
    from huggingface_hub.utils import build_hf_headers

    headers = {**build_hf_headers(), "accept-encoding": "identity"}
    if start:
        headers["range"] = f"bytes={start}-"
    async with client.stream("GET", url, headers=headers, timeout=httpx2.Timeout(STALL_S)) as reply:
        expected = f"bytes {start}-{size - 1}/{size}"
        if reply.status_code == 416:
            raise _CannotResume("the hub refused to resume the download")
        if reply.status_code in PERMANENT_STATUS:
            raise ModelLoadFailed(f"the hub answered {reply.status_code} to the request for {part.stem}")
        if reply.status_code not in (200, 206):
            raise _ConnectionBroken(f"the hub answered {reply.status_code}")
        compressed = (
            reply.headers.get("content-encoding", "identity") != "identity"
        )  # Some servers compress although asked not to.
        if reply.status_code == 206 and (compressed or not start or reply.headers.get("content-range") != expected):
            raise _CannotResume("the hub sent another part of the file")
        if reply.status_code == 200 and start:  # The server cannot resume: it sends the whole file.
            on_bytes(-await asyncio.to_thread(_empty, part))
            start = 0
        left, waiting, written = size - start, bytearray(), time.monotonic()
        try:
            async for chunk in reply.aiter_bytes() if compressed else reply.aiter_raw():
                waiting += chunk
                left -= len(chunk)
                if left < 0:
                    waiting.clear()
                    raise _CannotResume("the file is longer than the hub announced")
                if len(waiting) >= WRITE_BYTES or time.monotonic() - written >= WRITE_S:
                    full, waiting, written = waiting, bytearray(), time.monotonic()
                    await _append_async(part, full)
                    on_bytes(len(full))
        except httpx2.TimeoutException:
            raise _ConnectionBroken(f"no data came for {STALL_S:g} s") from None
        finally:
            if waiting:
                _append(part, waiting)
                on_bytes(len(waiting))


def _open(path: Path, size: int) -> int:
    """Creates a file's directory and part file; returns how many bytes of it exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return size
    _part(path).touch()
    return _size(_part(path))


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _size(path: Path) -> int:
    return path.stat().st_size


def _empty(path: Path) -> int:
    """Truncates a file; returns its previous size."""
    before = _size(path)
    path.write_bytes(b"")
    return before


async def _append_async(path: Path, content: bytearray) -> None:
    """Appends to a file in a thread. Even when cancelled, it returns only after the write has finished."""
    writing = asyncio.create_task(asyncio.to_thread(_append, path, content))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


def _append(path: Path, content: bytearray) -> None:
    with path.open("ab") as out:
        out.write(content)
