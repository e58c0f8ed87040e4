"""Parsing multipart bodies as they arrive: text fields into memory, files to disk."""

import os
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import multipart

from adapters.base import Media
from compat.errors import RequestError

MAX_FIELDS = 512
MAX_FIELD_BYTES = 16 * 2**20
"""The limit of one text field. Images and short audio fit as data URLs; larger media are sent as files."""
MAX_TEXT_BYTES = 32 * 2**20
"""The limit of all text fields together, which are kept in memory."""
MAX_IMAGE_UPLOAD_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a multipart body on disk. It is removed when the request ends."""

    name: str
    """The form field's name."""
    media_type: str
    path: Path
    size_bytes: int
    filename: str = ""
    """The client's name of the file. It must not become part of a path."""

    def media(self, limit: int | None = None) -> Media:
        """The upload as media on disk, valid until the request ends.

        Raises:
            RequestError: 413, the upload is larger than `limit` bytes.
        """
        if limit is not None and self.size_bytes > limit:
            raise RequestError(
                f"Invalid '{self.name}': the file has {self.size_bytes} bytes. Send at most {limit} bytes.",
                param=self.name,
                status=413,
            )
        return Media(self.media_type, path=str(self.path))

    def loaded(self, limit: int = MAX_IMAGE_UPLOAD_BYTES) -> Media:
        """The upload as media in memory, which outlives the request. Raises as `media`."""
        return Media(self.media_type, Path(self.media(limit).path).read_bytes())


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart body, or a JSON object on routes that accept both."""

    fields: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Text fields that are not empty."""
    files: dict[str, list[Upload]] = field(default_factory=dict[str, list[Upload]])
    json: dict[str, Any] | None = None
    """The object, if the body was JSON. Then `fields` and `files` are empty."""
    folder: Path = field(default_factory=Path)
    """A private directory for files of this request. It is removed when the request ends."""


class Segments:
    """Collects a parser's events: text into memory, files to disk."""

    def __init__(self, form: Form, folder: Path) -> None:
        """Fills `form`. Files go into `folder`, with generated names."""
        self._form = form
        self._folder = folder
        self._segment: multipart.MultipartSegment | None = None
        self._text = bytearray()
        self._text_bytes = 0
        self._descriptor = -1
        self._path = folder
        self._count = 0

    def feed(self, events: Generator[multipart.MultipartSegment | bytearray | bytes | None, None, None]) -> None:
        """Handles the events of one chunk of the body.

        Raises:
            RequestError: 413, a text field is too long; 400, a text field contains NUL; 503, the disk is full.
        """
        try:
            for event in events:
                if isinstance(event, multipart.MultipartSegment):
                    self._begin(event)
                elif event:
                    self._add(event)
                elif self._segment is not None:
                    self._end(self._segment)
        except OSError as error:
            raise RequestError(
                "The server's disk is full: the upload cannot be stored. Try again later.",
                code="insufficient_storage",
                status=503,
            ) from error

    def close(self) -> None:
        """Closes the file that is open, if the body ended in the middle of one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self, segment: multipart.MultipartSegment) -> None:
        self._segment = segment
        self._text.clear()
        if segment.filename is not None:
            self._path = self._folder / str(self._count)
            self._count += 1
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def _add(self, data: bytearray | bytes) -> None:
        if self._descriptor >= 0:
            while data:  # a nearly full disk accepts a part, and fails at the next write
                data = data[os.write(self._descriptor, data) :]
            return
        self._text += data
        self._text_bytes += len(data)
        if len(self._text) > MAX_FIELD_BYTES or self._text_bytes > MAX_TEXT_BYTES:
            raise RequestError(
                f"A text field is longer than {MAX_FIELD_BYTES} bytes, or all text fields together are longer than "
                f"{MAX_TEXT_BYTES} bytes. Send large content as a file.",
                status=413,
            )

    def _end(self, segment: multipart.MultipartSegment) -> None:
        self._segment = None
        if self._descriptor >= 0:
            size = os.fstat(self._descriptor).st_size
            self.close()
            media_type = segment.content_type or "application/octet-stream"
            if not size and not segment.filename:  # what browsers send for a file field without a file
                return
            self._form.files.setdefault(segment.name, []).append(
                Upload(segment.name, media_type, self._path, size, segment.filename or "")
            )
        else:
            text = self._text.decode("utf-8", "strict")
            if "\0" in text:
                raise RequestError(
                    f"Invalid '{segment.name}': it contains a NUL character. Remove it.", param=segment.name
                )
            if text or "[][" in segment.name:  # an empty field means an absent one; columns need their place
                self._form.fields.setdefault(segment.name, []).append(text)
