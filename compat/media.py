"""Media inside JSON: data URLs (RFC 2397), and references that `server/media/references.py` resolves."""

import binascii
import re
from base64 import b64decode
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import Field

from adapters.base import IMAGE_TEXT, ImagePart, Media, Part, TextPart
from compat.errors import RequestError, invalid

MAX_IMAGE_BYTES = 50 * 1024 * 1024
"""Of one decoded image, as in OpenAI's image routes. Adapters check it again, and the number of pixels."""

Detail = Literal["auto", "low", "high", "original"]
DETAILS: tuple[str, ...] = ("auto", "low", "high", "original")
FileId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

_HEAD = re.compile(
    r"data:\s?((?:image|audio|video)/[a-z0-9][a-z0-9.+-]{0,62}|application/octet-stream)?"
    r"(?:;\s?[a-z0-9-]{1,32}=\"?[a-z0-9._-]{0,64}\"?){0,4};?\s?base64",
    re.I,
)
UNTYPED = ("", "application/octet-stream")
"""Media types that say nothing."""
MIN_BARE_CHARACTERS = 64
"""Shorter text without "data:" is no file in base64, but a mistake."""
_BARE = re.compile(r"[A-Za-z0-9+/_-]{60}")
_PIECE = 64 * 1024
_URL_SAFE = str.maketrans("-_", "+/")
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
_EXAMPLES = {
    "image": "data:image/png;base64,<data>",
    "audio": "data:audio/mpeg;base64,<data>",
    "video": "data:video/mp4;base64,<data>",
}
_NOUNS = {"image": "an image", "audio": "audio", "video": "a video"}


@dataclass(frozen=True, slots=True)
class Reference(Media):
    """An image still to be fetched: either `file_id` or `url` is set, and no field of `Media`."""

    file_id: str = ""
    """The id of an uploaded file."""
    url: str = ""
    """An http or https URL."""
    param: str = ""
    """The request's field, for errors."""


def image_part(image: Media, detail: Detail | None, *, earlier: bool = False) -> ImagePart:
    """An image as a content part. "original" means the same as "high": the largest size that the model can use."""
    return ImagePart(image, "high" if detail == "original" else detail or "auto", earlier)


@contextmanager
def earlier_image(parts: list[Part], *, earlier: bool) -> Generator[None]:
    """Puts a text in the place of an image that cannot be read, if it belongs to an earlier message."""
    try:
        yield
    except RequestError:
        if not earlier:
            raise
        parts.append(TextPart(IMAGE_TEXT))


def parse_image_url(url: str, *, param: str) -> Media:
    """The image behind a URL: decoded from a data URL, or a `Reference` to a remote one.

    Raises:
        RequestError: As for `parse_data_url`.
    """
    if url[:8].lower().startswith(("http://", "https://")):
        return Reference("", url=url, param=param)
    return parse_data_url(url, param=param)


def remote_urls_off(param: str, kind: str = "image") -> RequestError:
    """The 400 for a URL that this server would have to fetch."""
    reason = f"this server does not fetch URLs; send the {kind} as a data URL, such as {_EXAMPLES[kind]}"
    return invalid(param, reason, code="remote_urls_off")


def parse_data_url(
    url: str, *, param: str, max_bytes: int = MAX_IMAGE_BYTES, kinds: Sequence[str] = ("image",)
) -> Media:
    """The image of a data URL, or of its base64 alone; or audio or a video, if `kinds` allows it.

    Args:
        url: "data:image/png;base64,..."; see `decode_base64`. The media type may be missing.
        param: The request's field, for errors.
        max_bytes: The maximum decoded size.
        kinds: The allowed first parts of its media type: "image", "audio", "video". Errors name the first.

    Raises:
        RequestError: Another URL (none is fetched), another media type, invalid base64, empty, or too large (413).
    """
    kind = kinds[0]
    url = url.strip()
    if url[:5].lower() == "data:":
        head, comma, payload = url.partition(",")
        match = _HEAD.fullmatch(head) if len(head) <= 512 else None
        media_type = "" if match is None else (match[1] or "").lower()
        if match is None or not comma or (media_type not in UNTYPED and media_type.partition("/")[0] not in kinds):
            raise invalid(param, f"must be a base64 data URL of {_NOUNS[kind]}, such as {_EXAMPLES[kind]}")
    elif len(url) >= MIN_BARE_CHARACTERS and _BARE.match(url):
        media_type, payload = "", url
    else:
        raise remote_urls_off(param, kind)
    if len(payload) * 3 // 4 > max_bytes + 2 and len("".join(payload.split())) * 3 // 4 > max_bytes + 2:
        raise RequestError(
            f"Invalid '{param}': the {kind} is larger than the maximum of {max_bytes:,} bytes.",
            param=param,
            code=f"{kind}_too_large",
            status=413,
        )
    data = decode_base64(payload, param=param)
    if not data:
        raise invalid(param, f"the {kind} is empty")
    return Media(media_type if media_type not in UNTYPED else _sniffed(data, kind), data)


def decode_base64(text: str, *, param: str) -> bytes:
    """The bytes behind base64 in any of its spellings.

    Line breaks and spaces are ignored, the alphabet may be the URL-safe one, padding may be missing, and all of it may
    be percent-encoded, as in URLs.

    Raises:
        RequestError: It is not base64.
    """
    text = (unquote(text) if "%" in text else text).rstrip("= \t\r\n\v\f")
    decoded, left = bytearray(), ""
    try:
        for start in range(0, len(text), _PIECE):  # in pieces, between which other threads run
            piece = left + "".join(text[start : start + _PIECE].split())
            whole = len(piece) - len(piece) % 4
            left = piece[whole:]
            decoded += b64decode(piece[:whole].translate(_URL_SAFE), validate=True)
            if piece.endswith("="):
                raise ValueError("padding before the end")
        decoded += b64decode(left.translate(_URL_SAFE) + "=" * (-len(left) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII.
        raise invalid(param, "the data URL is not valid base64") from None
    return bytes(decoded)


def _sniffed(data: bytes, kind: str) -> str:
    """The media type of bytes that came without one. Decoders do not trust it: they look at the bytes themselves."""
    return next((media_type for magic, media_type in _MAGIC if data.startswith(magic)), f"{kind}/unknown")
