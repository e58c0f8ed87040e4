"""/v1/files: OpenAI's schemas for uploaded files. This server uses files as images in prompts."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from compat.errors import RequestError
from compat.wire import FormRequest, WireReply, validate

Purpose = Literal["vision", "user_data"]
MAX_NAME = 255


class ExpiresAfter(FormRequest):
    """When a file is deleted automatically."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class FileCreateRequest(FormRequest):
    """The form fields beside the file."""

    purpose: Purpose
    expires_after: ExpiresAfter | None = None

    @field_validator("purpose", mode="before")
    @classmethod
    def _useful(cls, value: Any) -> Any:
        if value in ("assistants", "batch", "fine-tune", "evals"):
            raise ValueError(f"purpose {value!r} is not supported by this server; use 'vision' or 'user_data'")
        return value


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file's metadata."""

    id: str
    name: str
    """The client's name for it. Never part of a path on disk."""
    purpose: str
    size_bytes: int
    created_at: float
    """Unix seconds."""
    expires_at: float


class FileObject(WireReply):
    """A file."""

    id: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"
    status_details: None = None


class FileList(WireReply):
    """A page of files."""

    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


class FileDeleted(WireReply):
    """A deleted file."""

    id: str
    deleted: Literal[True] = True
    object: Literal["file"] = "file"


def parse(fields: Mapping[str, Any]) -> FileCreateRequest:
    """The form fields of an upload.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    return validate(FileCreateRequest, fields)


def clean_name(name: str) -> str:
    """A file name for display: the last path component, without control characters, limited in length."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(one for one in last if unicodedata.category(one)[0] != "C").strip()
    return kept[-MAX_NAME:] or "file"


def render(file: StoredFile) -> FileObject:
    """OpenAI's file object."""
    return FileObject(
        file.id, file.size_bytes, int(file.created_at), int(file.expires_at), filename=file.name, purpose=file.purpose
    )


def render_page(files: Sequence[StoredFile], *, has_more: bool) -> FileList:
    """A page of files."""
    first, last = (files[0].id, files[-1].id) if files else (None, None)
    return FileList([render(file) for file in files], first, last, has_more)


def not_found(file_id: str, param: str | None = None) -> RequestError:
    """The 404 for an id that does not exist, or that belongs to another key."""
    return RequestError(f"No file found with id {file_id[:64]!r}.", param=param, code="file_not_found", status=404)
