"""Media that came inside JSON: data URLs (RFC 2397), and references to what `server/media/references.py` has to get."""

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from adapters.base import ImagePart, Media
from compat.errors import RequestError

MAX_IMAGE_BYTES = 50 * 1024 * 1024
"""Of one decoded image, as OpenAI's image routes allow; adapters check again, and pixels too."""

REMOTE_OFF = "remote URLs are off; this server fetches nothing. Send the image itself, as data:image/png;base64,..."

Detail = Literal["auto", "low", "high", "original"]
FileId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

_HEAD = re.compile(
    r"data:((?:image|audio|video)/[a-z0-9][a-z0-9.+-]{0,62})(?:;[a-z0-9-]{1,32}=[a-z0-9._-]{0,64}){0,4};base64", re.I
)
_EXAMPLES = {
    "image": "data:image/png;base64,...",
    "audio": "data:audio/mpeg;base64,...",
    "video": "data:video/mp4;base64,...",
}
_ARTICLES = {"image": "an", "audio": "an", "video": "a"}


@dataclass(frozen=True, slots=True)
class Reference(Media):
    """An image that is not here yet: one of `file_id` and `url` is set, and nothing of `Media`."""

    file_id: str = ""
    """Of an uploaded file."""
    url: str = ""
    """On the web: http or https."""
    param: str = ""
    """The field that it came in, for errors."""


def shown(image: Media, detail: Detail | None) -> ImagePart:
    """An image as a part; "original" is what "high" is here: as large as the model can make use of."""
    return ImagePart(image, "high" if detail == "original" else detail or "auto")


def parse_image_url(url: str, *, param: str) -> Media:
    """The image that a URL means: decoded from a data URL, or a `Reference` to what lies on the web.

    Raises:
        RequestError: As `parse_data_url`; also for URLs that are neither.
    """
    if url[:8].lower().startswith(("http://", "https://")):
        return Reference("", url=url, param=param)
    return parse_data_url(url, param=param)


def parse_data_url(
    url: str, *, param: str, max_bytes: int = MAX_IMAGE_BYTES, kinds: Sequence[str] = ("image",)
) -> Media:
    """The image that a data URL holds; or a sound or a video, where that is asked for.

    Args:
        url: "data:image/png;base64,..."; strict base64 with its padding.
        param: The field that it came in, for the error.
        max_bytes: The largest decoded size that is accepted.
        kinds: What it may be, by the first part of its media type: "image", "audio", "video"; errors name the first.

    Raises:
        RequestError: Any other URL (none is ever fetched), no image, no valid base64, empty, or too large (413).
    """
    kind = kinds[0]
    example = _EXAMPLES[kind]
    if url[:5].lower() != "data:":
        raise RequestError(
            f"Invalid '{param}': remote URLs are off; this server fetches nothing. "
            f"Send the {kind} itself, as {example}",
            param=param,
            code="remote_urls_off",
        )
    head, comma, payload = url.partition(",")
    match = _HEAD.fullmatch(head) if len(head) <= 512 else None
    if match is None or not comma or match[1].lower().partition("/")[0] not in kinds:
        raise RequestError(
            f"Invalid '{param}': a data URL must hold {_ARTICLES[kind]} {kind} in base64, as {example}",
            param=param,
            code="invalid_value",
        )
    if len(payload) * 3 // 4 > max_bytes + 2:
        raise RequestError(
            f"Invalid '{param}': the {kind} is larger than {max_bytes:,} bytes.",
            param=param,
            code=f"{kind}_too_large",
            status=413,
        )
    try:
        data = b64decode(payload, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII.
        raise RequestError(
            f"Invalid '{param}': the data URL's base64 is broken.", param=param, code="invalid_value"
        ) from None
    if not data:
        raise RequestError(f"Invalid '{param}': the {kind} is empty.", param=param, code="invalid_value")
    return Media(match[1].lower(), data)
