"""One file over HTTP, however often the connection breaks: it goes on from the byte where it stopped.

What is here of a file lies in `NAME.part` beside its place, and takes that place with its last byte. Whether the bytes
are the right ones is for the caller to find out (`adapters/loader/hub.py`).
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
"""A connection from which nothing comes for so long is given up, and the download continued on another."""
RETRIES = 5
"""So often in a row a file is continued without a single new byte; then the download fails, and can be resumed."""
BACKOFF_S = 0.5
"""Before the first retry; doubled for each further one, up to `MAX_BACKOFF_S`, and spread at random."""
MAX_BACKOFF_S = 10.0
WRITE_BYTES = 2**20
WRITE_S = 0.1
"""What has come is written out when it is so much, or so old: it is what a killed process leaves to the next."""
FINAL = frozenset({401, 403, 404, 410, 451})
"""Answers that will be the same the next time."""


class _Broken(Exception):
    """The connection did not deliver what was asked for; another try may."""


class _Useless(_Broken):
    """And what is here cannot be continued: the next try begins at the first byte."""


def here_of(path: Path, size: int) -> int:
    """How much of a file is here; what is longer than it should be is removed."""
    part = _part(path)
    for candidate in (path, part):
        if candidate.is_file() and candidate.stat().st_size > size:
            candidate.unlink()
    if path.is_file() and path.stat().st_size == size:
        return size
    path.unlink(missing_ok=True)
    return part.stat().st_size if part.is_file() else 0


async def transfer(client: Any, url: str, path: Path, size: int, arrived: Callable[[int], None]) -> None:
    """Fetches a file, however often the connection breaks, as long as each few tries bring something new.

    Cancelling it is safe: nothing is written any more once it has ended.

    Args:
        client: An `httpx2.AsyncClient`.
        url: Of the file, on a model hub.
        path: Where it goes.
        size: Bytes that it must have.
        arrived: Hears how many bytes came; negative where some had to be thrown away.

    Raises:
        ModelLoadFailed: It cannot be had, or not now.
    """
    import httpx2

    part = _part(path)
    furthest = start = await asyncio.to_thread(_open, path, size)
    failures = 0
    while start < size:
        try:
            await _continue(client, url, part, start, size, arrived)
            why = "it ended early"
        except (httpx2.HTTPError, _Broken) as error:
            why = str(error) or type(error).__name__
            if isinstance(error, _Useless):
                arrived(-await asyncio.to_thread(_empty, part))
        start = await asyncio.to_thread(_size, part)
        failures = 0 if start > furthest else failures + 1
        furthest = max(furthest, start)
        if start < size:
            logger.info("%s: %s after %d of %d bytes", path.name, why, start, size)
            if failures > RETRIES:
                raise ModelLoadFailed(
                    f"the download of {path.name} broke off after {start} of {size} bytes ({why}); "
                    "the next attempt goes on from there"
                )
            pause = min(MAX_BACKOFF_S, BACKOFF_S * 2 ** max(0, failures - 1))
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - not a secret
    if part.exists():
        part.replace(path)


async def _continue(client: Any, url: str, part: Path, start: int, size: int, arrived: Callable[[int], None]) -> None:
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
        expected = f"bytes {start}-{size - 1}/{size}"
        if reply.status_code == 416:
            raise _Useless("the hub refused to continue")
        if reply.status_code in FINAL:
            raise ModelLoadFailed(f"the hub answered {reply.status_code} to the request for {part.stem}")
        if reply.status_code not in (200, 206):
            raise _Broken(f"the hub answered {reply.status_code}")
        compressed = reply.headers.get("content-encoding", "identity") != "identity"  # Some do, asked or not.
        if reply.status_code == 206 and (compressed or not start or reply.headers.get("content-range") != expected):
            raise _Useless("the hub sent another part of the file")
        if reply.status_code == 200 and start:  # It cannot continue: all of it comes again.
            arrived(-await asyncio.to_thread(_empty, part))
            start = 0
        left, waiting, written = size - start, bytearray(), time.monotonic()
        try:
            async for chunk in reply.aiter_bytes() if compressed else reply.aiter_raw():
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


def _open(path: Path, size: int) -> int:
    """Makes room for a file; returns how much of it is here."""
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
    """Removes a file's content; returns how much there was."""
    before = _size(path)
    path.write_bytes(b"")
    return before


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
