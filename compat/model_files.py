"""Downloads, verifications and the cache of models. Not part of OpenAI's API; the schemas follow its style."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from adapters.base import LoadProgress
from compat.errors import RequestError, wire_error
from compat.wire import WireReply, WireRequest, validate

DownloadStatus = Literal["queued", "in_progress", "completed", "failed", "cancelled"]


class DownloadRequest(WireRequest):
    """POST /v1/models/{id}/download."""

    stream: bool = False
    """Server-sent events of the same object, until the download ends."""


class LoadRequest(WireRequest):
    """POST /v1/models/{id}/load."""

    device: Literal["auto", "cuda", "cpu"] | None = None
    """Where the model runs; "auto": as its catalog entry says. Null: as it was loaded last."""
    compute_type: str | None = Field(None, max_length=32)
    """Of weights and arithmetic, as in a model's configuration: "float16", "int8", ...; "auto" and null: as above."""


class NoParameters(WireRequest):
    """A body without fields."""


class JobError(WireReply):
    """Why a job failed."""

    code: str | None
    message: str


class ModelDownload(WireReply):
    """A download, in progress or finished."""

    id: str
    object: str
    model: str
    status: DownloadStatus
    stage: str | None
    """The current stage: "downloading", "verifying" or "converting"."""
    progress: float | None
    """0..100 of this stage; null if unknown."""
    done_bytes: int | None
    total_bytes: int | None
    created_at: int
    completed_at: int | None
    error: JobError | None


class ModelVerification(WireReply):
    """The result of checking a model's files."""

    id: str
    object: str
    is_valid: bool
    message: str
    size_bytes: int
    files_checked: int
    hashed: bool
    """Whether checksums were compared."""
    problems: list[str]


class CachedModel(WireReply):
    """A model whose files are in the server's cache."""

    id: str
    object: str
    size_bytes: int
    downloaded_at: int
    last_accessed_at: int
    source: str
    commit: str | None


class CachedModelList(WireReply):
    """All cached models."""

    data: list[CachedModel]
    object: str = "list"


class ModelDeleted(WireReply):
    """The reply that OpenAI's SDK expects from `models.delete`; `freed_bytes` is an extension."""

    id: str
    object: str
    deleted: bool
    freed_bytes: int


def parse_download(body: Mapping[str, Any]) -> DownloadRequest:
    """The request for a download."""
    return validate(DownloadRequest, body)


def parse_load(body: Mapping[str, Any]) -> LoadRequest:
    """The request for a load."""
    return validate(LoadRequest, body)


def parse_nothing(body: Mapping[str, Any]) -> None:
    """Checks that the body has no fields."""
    validate(NoParameters, body)


def render_download(
    job_id: str,
    model: str,
    status: DownloadStatus,
    *,
    progress: LoadProgress | None,
    created_at: int,
    completed_at: int | None,
    error: Exception | None,
) -> ModelDownload:
    """A download's state."""
    shown = None if error is None else wire_error(error)
    fraction = 1.0 if status == "completed" else progress.fraction if progress else None
    return ModelDownload(
        id=job_id,
        object="model.download",
        model=model,
        status=status,
        stage=progress.stage if progress and status == "in_progress" else None,
        progress=None if fraction is None else round(fraction * 100, 1),
        done_bytes=progress.done_bytes if progress else None,
        total_bytes=progress.total_bytes if progress else None,
        created_at=created_at,
        completed_at=completed_at,
        error=None if shown is None else JobError(shown.code, shown.message),
    )


def render_verification(
    model: str,
    *,
    is_valid: bool,
    message: str,
    size_bytes: int,
    files: int,
    hashed: bool,
    problems: Sequence[str],
) -> ModelVerification:
    """A verification's result."""
    return ModelVerification(
        model, "model.verification", is_valid, message, size_bytes, files, hashed, problems=list(problems)
    )


def render_cached(
    model: str, *, size_bytes: int, downloaded_at: int, last_accessed_at: int, source: str, commit: str | None
) -> CachedModel:
    """One model of the cache."""
    return CachedModel(model, "model.cached", size_bytes, downloaded_at, last_accessed_at, source, commit)


def action_of(path: str, actions: Sequence[str]) -> tuple[str, str]:
    """(model, action) of the last part of a URL, `{model}/{action}`. Model names may contain slashes.

    Raises:
        RequestError: 404: the path does not end in one of the actions.
    """
    model, _, action = path.strip("/").rpartition("/")
    if action not in actions or not model:
        raise RequestError("Unknown URL.", code="unknown_url", status=404)
    return model, action
