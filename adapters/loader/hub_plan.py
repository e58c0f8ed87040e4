"""Which files to download from a model hub, at which commit, and their sizes and checksums.

The plan is stored with the download, so that a later process resumes it at the same commit.
"""

import asyncio
import json
import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar, cast

from adapters.catalog.sources import HubSource
from adapters.errors import ModelLoadFailed
from adapters.files import is_fp16
from adapters.loader.verification import forbidden_suffix, is_unsafe_name
from adapters.registry import BACKENDS, Layout

T = TypeVar("T")

logger = logging.getLogger(__name__)

INDEX = "model_index.json"
"""Of a diffusers pipeline: its class, and the folders of its components."""
MAX_SMALL_BYTES = 4 * 2**20
"""Of a config file."""
SOURCE_TIMEOUT_S = 2.0
"""Timeout of a hub's first answer before the next source is tried."""
LAST_SOURCE_TIMEOUT_S = 30.0
"""The same for the last source."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub announces it; one of the two checksums is set."""

    name: str
    size_bytes: int
    sha256: str | None
    blob_id: str | None
    """Of small files: the SHA-1 of git's blob."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files to download: some of a repository, at one commit."""

    source: str
    """As written in the catalog."""
    repo: str
    commit: str
    files: tuple[HubFile, ...]


async def make_plan(
    source: HubSource, work: Path, backend: str, endpoint: str | None, timeout_s: float, *, half: bool = False
) -> Snapshot:
    """The files to download: those of an earlier attempt in `work`, otherwise those of the newest commit.

    Arguments as `adapters.loader.hub.fetch_hub`.

    Raises:
        ModelLoadFailed: The hub does not answer in time, or has no such model or only files that must not be loaded.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    before = await asyncio.to_thread(_read_plan, work, str(source))
    try:
        if before is not None:
            try:
                plan = await _resolve(source, before.commit, backend, endpoint, timeout_s, half)
            except (RepositoryNotFoundError, RevisionNotFoundError):
                before, plan = None, await _resolve(source, source.revision, backend, endpoint, timeout_s, half)
        else:
            plan = await _resolve(source, source.revision, backend, endpoint, timeout_s, half)
    except ModelLoadFailed:
        raise
    except (
        Exception
    ) as error:  # The library has many error classes, and they change; on any of them the next source is tried.
        logger.info("%s: %r", source, error)
        raise ModelLoadFailed(describe_error(error)) from error
    await asyncio.to_thread(_write_plan, work, plan, before)
    return plan


def describe_error(error: Exception) -> str:
    """A hub's error as text for clients."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "its licence must be accepted at the hub first; then set HF_TOKEN to a token of that account"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the model hub has no such repository, or it is private; for a private one set HF_TOKEN"
    return "the model hub cannot be reached, or does not have it"


async def _resolve(
    source: HubSource, revision: str | None, backend: str, endpoint: str | None, timeout_s: float, half: bool
) -> Snapshot:
    listing = await list_files(source.repo, revision, endpoint, timeout_s)
    return await select(listing, source, backend, endpoint, timeout_s, half=half)


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit: what the hub tells before anything is downloaded."""

    repo: str
    commit: str
    files: tuple[Any, ...]
    """`RepoSibling` of huggingface_hub."""
    license: str
    """As its model card names it; "": it does not."""

    @property
    def names(self) -> frozenset[str]:
        """Of all files."""
        return frozenset(str(file.rfilename) for file in self.files)


async def list_files(repo: str, revision: str | None, endpoint: str | None, timeout_s: float) -> Listing:
    """The files of a repository at a revision; None: the newest commit of its main branch.

    Raises:
        Exception: The hub's; `describe_error` explains it.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    info = await _with_timeout(timeout_s, lambda: api.model_info(repo, revision=revision, files_metadata=True))
    if not info.sha or not info.sha.isalnum():
        raise ModelLoadFailed("the hub did not send the repository's commit")
    card: Any = info.card_data
    license = (card.get("license_name") or card.get("license")) if card is not None else None
    return Listing(
        repo,
        info.sha,
        tuple(info.siblings or ()),
        license if isinstance(license, str) and license.isprintable() else "",
    )


async def select(
    listing: Listing, source: HubSource, backend: str, endpoint: str | None, timeout_s: float, *, half: bool
) -> Snapshot:
    """The files of a repository that a backend needs. Arguments as `adapters.loader.hub.fetch_hub`.

    Raises:
        ModelLoadFailed: It has none that may be loaded.
    """
    folders: frozenset[str] | None = None
    if not source.file and BACKENDS[backend].layout == "diffusers" and INDEX in listing.names:
        folders = components(await read_small(listing, INDEX, endpoint, timeout_s))
    wanted = _select(list(listing.files), source, backend, folders, half=half)
    return Snapshot(str(source), source.repo, listing.commit, tuple(map(_to_hub_file, wanted)))


async def read_small(listing: Listing, name: str, endpoint: str | None, timeout_s: float) -> bytes:
    """A config file of a repository.

    Raises:
        ModelLoadFailed: It is larger than `MAX_SMALL_BYTES`.
    """
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(listing.repo, name, revision=listing.commit, endpoint=endpoint)

    def read() -> bytes:
        content = bytearray()
        with get_session().stream("GET", url, headers=build_hf_headers(), follow_redirects=True) as reply:
            reply.raise_for_status()
            for chunk in reply.iter_bytes():
                content += chunk
                if len(content) > MAX_SMALL_BYTES:
                    raise ModelLoadFailed(f"{name} is larger than {MAX_SMALL_BYTES:,} bytes, which no config file is")
        return bytes(content)

    return await _with_timeout(timeout_s, read)


def components(index: bytes) -> frozenset[str] | None:
    """The folders that a `model_index.json` names; None: it names none, or is not one."""
    try:
        found: Any = json.loads(index)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    entries = cast(dict[str, Any], found)
    return frozenset(name for name, one in entries.items() if isinstance(one, list) and one and one[0]) or None


def _select(
    files: list[Any], source: HubSource, backend: str, folders: frozenset[str] | None, *, half: bool
) -> list[Any]:
    row = BACKENDS[backend]
    patterns = (source.file,) if source.file else row.files
    wanted = [file for file in files if any(fnmatch(file.rfilename, pattern) for pattern in patterns)]
    if not source.file:
        names = {file.rfilename for file in wanted}
        wanted = [file for file in wanted if _belongs(file.rfilename, names, row.layout, folders, half=half)]
    if not any(is_weights(file.rfilename) for file in wanted):
        if gguf := next((file.rfilename for file in files if file.rfilename.endswith(".gguf")), ""):
            raise ModelLoadFailed(f"the repository has GGUF files alone; name one, as in {source}/{gguf}")
        raise ModelLoadFailed("the repository has no weights that may be loaded (safetensors, CTranslate2 or GGUF)")
    return wanted


def _belongs(name: str, names: set[str], layout: Layout, folders: frozenset[str] | None, *, half: bool) -> bool:
    """Whether a file of a repository belongs to the checkpoint; the others hold its weights in other formats.

    Args:
        name: The file's.
        names: Of all files that match the backend's patterns.
        layout: Of the backend's checkpoints.
        folders: Those of the pipeline's components; None: all.
        half: Whether weights in float16 are preferred, where there are both.
    """
    if layout == "diffusers":
        folder, _, base = name.rpartition("/")
        if not folder and is_weights(name):  # A whole pipeline in one file, beside the folders of its components.
            return not any("/" in other and is_weights(other) for other in names)
        if folder and folders is not None and folder not in folders:
            return False
        if ".safetensors" not in base:
            return True
        beside = [other for other in names if other.rpartition("/")[0] == folder and is_weights(other)]
        both = len({is_fp16(other) for other in beside}) == 2
        return not both or is_fp16(base) == half
    if layout == "sentence-transformers" and name.endswith("_Pooling/config.json") and name.count("/") == 1:
        return True  # `modules.json` names this folder.
    return "/" not in name and not name.startswith("consolidated")  # Others: "original/consolidated.safetensors".


def is_weights(name: str) -> bool:
    """Whether a file of that name holds weights."""
    return name.endswith((".safetensors", ".gguf")) or name == "model.bin"


def _to_hub_file(file: Any) -> HubFile:
    """A file of the hub's list.

    Raises:
        ModelLoadFailed: Its name leads out of the directory, its type must not be loaded, or its checksum is missing.
    """
    name = str(file.rfilename)
    sha256 = file.lfs.sha256 if file.lfs is not None else None
    if is_unsafe_name(name):
        raise ModelLoadFailed(f"it has a file whose name may lead out of the directory: {name[:80]!r}")
    if name != "model.bin" and (why := forbidden_suffix(name)) is not None:
        raise ModelLoadFailed(f"{name} is {why}")
    if not isinstance(file.size, int) or file.size < 0 or not (sha256 or file.blob_id):
        raise ModelLoadFailed(f"the hub did not send the size and checksum of {name}")
    return HubFile(name, file.size, sha256, None if sha256 else file.blob_id)


def _read_plan(work: Path, source: str) -> Snapshot | None:
    try:
        plan = json.loads((work / "plan.json").read_text("utf-8"))
        found = Snapshot(plan["source"], plan["repo"], plan["commit"], tuple(HubFile(**file) for file in plan["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.source == source else None


def unfinished_commit(work: Path, repo: str) -> str | None:
    """The commit of an unfinished download of a repository; None: there is none.

    Args:
        work: Where it would be (`adapters.loader.cache.partial_download`).
        repo: `org/name`.
    """
    try:
        plan = json.loads((work / "plan.json").read_text("utf-8"))
        commit = plan["commit"] if plan["repo"] == repo else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return commit if isinstance(commit, str) and commit.isalnum() else None


def _write_plan(work: Path, plan: Snapshot, before: Snapshot | None) -> None:
    if plan != before:  # Files of another commit cannot be used.
        shutil.rmtree(work, ignore_errors=True)
    (work / "files").mkdir(parents=True, exist_ok=True)
    for path in (work / "files").rglob("*"):  # Files that a later stage may have added.
        name = path.relative_to(work / "files").as_posix().removesuffix(".part")
        if not path.is_dir() and all(file.name != name for file in plan.files):
            path.unlink()
    temporary = work / "plan.json.new"
    temporary.write_text(json.dumps(asdict(plan)), "utf-8")
    temporary.replace(work / "plan.json")


async def _with_timeout(seconds: float, call: Callable[[], T]) -> T:
    """The call's result, if it returns in time. Otherwise its thread is abandoned: DNS can block for a minute."""
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
