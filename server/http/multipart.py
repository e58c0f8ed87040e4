"""Parsing multipart bodies as they arrive, to disk; short text fields into memory."""

import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import multipart

from adapters.base import Media
from compat.errors import RequestError, storage_error

MAX_FIELDS = 512
MAX_FIELD_BYTES = 16 * 2**20
"""The limit of one text field. Images and short audio fit as data URLs; larger media are sent as files."""
MAX_TEXT_BYTES = 32 * 2**20
"""The limit of all text fields together, which are kept in memory."""
MAX_IMAGE_UPLOAD_BYTES = 32 * 2**20
INLINE_TEXT_BYTES = 64 * 1024
"""Longer text fields are kept on disk until the whole body is there, so that slow bodies occupy no memory."""

MEDIA_TYPES = ("audio/", "image/", "video/")
"""A part of such a type is a file, also without a file name."""


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
    """Collects a parser's events: short text into memory, all else to disk."""

    def __init__(self, form: Form, folder: Path, limits: Mapping[str, int]) -> None:
        """Fills `form`.

        Args:
            form: Gets the files at once, and the text fields in `finish`.
            folder: Holds the files, under generated names.
            limits: The largest file of a field, in bytes, by the field's name without brackets.
        """
        self.form = form
        self._folder = folder
        self._limits = limits
        self._texts: list[tuple[str, bytes | Path]] = []
        self._segment: multipart.MultipartSegment | None = None
        self._size = 0
        self._text = bytearray()
        self._text_bytes = 0
        self._descriptor = -1
        self._path = folder
        self._count = 0

    def feed(self, events: Generator[multipart.MultipartSegment | bytearray | bytes | None, None, None]) -> None:
        """Handles the events of one chunk of the body.

        Raises:
            RequestError: 413, a file or a text field is too long; 503, the disk is full or fails.
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
            raise storage_error(error) from error

    def close(self) -> None:
        """Closes the file that is open, if the body ended in the middle of one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self, segment: multipart.MultipartSegment) -> None:
        if segment.filename is None and (segment.content_type or "").startswith(MEDIA_TYPES):
            segment.filename = ""
        self._segment = segment
        self._text.clear()
        self._size = 0
        if segment.filename is not None:
            self._open()

    def _open(self) -> None:
        self._path = self._folder / str(self._count)
        self._count += 1
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def _add(self, data: bytearray | bytes) -> None:
        segment = self._segment
        assert segment is not None
        self._size += len(data)
        if segment.filename is None:
            self._text_bytes += len(data)
            if self._size > MAX_FIELD_BYTES or self._text_bytes > MAX_TEXT_BYTES:
                raise RequestError(
                    f"A text field is longer than {MAX_FIELD_BYTES} bytes, or all text fields together are longer than "
                    f"{MAX_TEXT_BYTES} bytes. Send large content as a file.",
                    status=413,
                )
            if self._descriptor < 0:
                self._text += data
                if len(self._text) <= INLINE_TEXT_BYTES:
                    return
                self._open()
                data = bytes(self._text)
        elif (limit := self._limits.get(segment.name.partition("[")[0])) is not None and self._size > limit:
            raise RequestError(
                f"Invalid '{segment.name}': the file has more than {limit} bytes. Send a smaller one.",
                param=segment.name,
                status=413,
            )
        while data:  # a nearly full disk accepts a part, and fails at the next write
            data = data[os.write(self._descriptor, data) :]

    def _end(self, segment: multipart.MultipartSegment) -> None:
        self._segment = None
        on_disk = self._descriptor >= 0
        self.close()
        if segment.filename is None:
            self._texts.append((segment.name, self._path if on_disk else bytes(self._text)))
        elif self._size or segment.filename:  # browsers send an empty name for a file field without a file
            media_type = segment.content_type or "application/octet-stream"
            upload = Upload(segment.name, media_type, self._path, self._size, segment.filename)
            self.form.files.setdefault(segment.name, []).append(upload)

    def finish(self) -> None:
        """Reads the text fields, when the whole body is there.

        Raises:
            RequestError: 400, a text field is not UTF-8 or contains NUL.
        """
        for name, found in self._texts:
            try:
                text = (found.read_bytes() if isinstance(found, Path) else found).decode("utf-8", "strict")
            except UnicodeDecodeError:
                raise RequestError(
                    f"Invalid '{name}': it is not valid UTF-8. Send all text fields in UTF-8.", param=name
                ) from None
            if "\0" in text:
                raise RequestError(f"Invalid '{name}': it contains a NUL character. Remove it.", param=name)
            if text or "[][" in name:  # an empty field means an absent one; columns need their place
                self.form.fields.setdefault(name, []).append(text)
