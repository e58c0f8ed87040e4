"""Media that came inside JSON: data URLs (RFC 2397). No other kind of URL is ever followed."""

import binascii
import re
from base64 import b64decode

from adapters.base import Media
from compat.errors import RequestError

MAX_IMAGE_BYTES = 50 * 1024 * 1024
"""Of one decoded image, as OpenAI's image routes allow; adapters check again, and pixels too."""

_HEAD = re.compile(r"data:(image/[a-z0-9][a-z0-9.+-]{0,62})(?:;[a-z0-9-]{1,32}=[a-z0-9._-]{0,64}){0,4};base64", re.I)


def parse_data_url(url: str, *, param: str, max_bytes: int = MAX_IMAGE_BYTES) -> Media:
    """The image that a data URL holds.

    Args:
        url: "data:image/png;base64,..."; strict base64 with its padding.
        param: The field that it came in, for the error.
        max_bytes: The largest decoded size that is accepted.

    Raises:
        RequestError: Any other URL (none is ever fetched), no image, no valid base64, empty, or too large (413).
    """
    if url[:5].lower() != "data:":
        raise RequestError(
            f"Invalid '{param}': remote URLs are off; this server fetches nothing. "
            "Send the image itself, as data:image/png;base64,...",
            param=param,
            code="remote_urls_off",
        )
    head, comma, payload = url.partition(",")
    match = _HEAD.fullmatch(head) if len(head) <= 512 else None
    if match is None or not comma:
        raise RequestError(
            f"Invalid '{param}': a data URL must be an image in base64, as data:image/png;base64,...",
            param=param,
            code="invalid_value",
        )
    if len(payload) * 3 // 4 > max_bytes + 2:
        raise RequestError(
            f"Invalid '{param}': the image is larger than {max_bytes:,} bytes.",
            param=param,
            code="image_too_large",
            status=413,
        )
    try:
        data = b64decode(payload, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII.
        raise RequestError(
            f"Invalid '{param}': the data URL's base64 is broken.", param=param, code="invalid_value"
        ) from None
    if not data:
        raise RequestError(f"Invalid '{param}': the image is empty.", param=param, code="invalid_value")
    return Media(match[1].lower(), data)
