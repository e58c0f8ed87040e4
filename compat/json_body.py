"""JSON bodies: decoded within limits, and without characters that no model and no database can hold."""

import json
import re
from contextlib import suppress
from typing import Any

import msgspec

from compat.errors import RequestError

MAX_JSON_VALUES = 320_000
"""A little more than the 300,000 tokens that OpenAI accepts in one request of embeddings. Counted without decoding, so
that commas and brackets within strings count too."""
MAX_LEVELS = 6
"""As deep as content parts in messages. Each level reads the body once more, which must not multiply for deep ones."""
PIECE_BYTES = 64 * 1024
"""A larger value is decoded item by item: while one is decoded, no other thread of this process runs."""
MAX_INT = 2**63
"""Integers beyond 64 bits have no meaning in this API, and some libraries fail on them."""
READ_BY_MODELS = frozenset({
    "messages", "input", "instructions", "prompt", "suffix", "tools", "functions", "questions", "prediction",
    "metadata", "client_metadata",
})  # fmt: skip
"""Fields of JSON bodies that hold conversations and texts, where tools and files may leave any character."""
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_RAW_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(body: bytes) -> dict[str, Any]:
    """Decodes and checks a JSON object.

    Raises:
        RequestError: 400, 413.
    """
    # Decoding blocks the interpreter, for a time that depends on the number of values, not of bytes.
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise RequestError(
            f"The JSON has more than {MAX_JSON_VALUES} values. Send fewer.", code="request_too_large", status=413
        )
    body = _RAW_SURROGATE.sub("\ufffd".encode(), body) if b"\xed" in body else body
    try:
        value = _decode_in_pieces(body)
    except RecursionError:
        raise RequestError("The JSON is nested too deeply. Send a flatter object.", code="invalid_json") from None
    except ValueError as error:  # msgspec's errors and bad UTF-8
        value = _with_lone_surrogates(body, error)
    if not isinstance(value, dict):
        raise RequestError('The body must be a JSON object, such as {"model": "..."}.', code="invalid_json")
    try:
        return _checked(value)  # pyright: ignore[reportUnknownArgumentType] - JSON
    except RecursionError:
        raise RequestError("The JSON is nested too deeply. Send a flatter object.", code="invalid_json") from None


def _decode_in_pieces(body: bytes | msgspec.Raw, levels: int = MAX_LEVELS) -> Any:
    if levels == 0 or len(memoryview(body)) < PIECE_BYTES:
        return msgspec.json.decode(body)
    first = bytes(memoryview(body)[:PIECE_BYTES]).lstrip()[:1]
    if first == b"{":
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return {name: _decode_in_pieces(value, levels - 1) for name, value in fields.items()}
    if first == b"[":
        return [_decode_in_pieces(value, levels - 1) for value in msgspec.json.decode(body, type=list[msgspec.Raw])]
    return msgspec.json.decode(body)


def _with_lone_surrogates(body: bytes, error: ValueError) -> Any:
    """The JSON by the standard library, which accepts escapes of lone surrogates, where these may be the fault."""
    if _ESCAPED_SURROGATE.search(body) is not None:
        with suppress(ValueError, RecursionError):
            return json.loads(body, parse_constant=_no_constant)
    raise RequestError(f"The body is not valid JSON: {error}.", code="invalid_json") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    """The body, with U+FFFD for NUL and lone surrogates in what a model reads; both are refused elsewhere.

    Raises:
        RequestError: 400, another field has such a character, or an integer is beyond 64 bits.
    """
    cleaned: dict[str, Any] = {}
    for name, value in body.items():
        if _check_values([name, value]):
            if name not in READ_BY_MODELS:
                shown = name[:64].encode("ascii", "replace").decode()
                raise RequestError(
                    f"Invalid '{shown}': it contains a NUL character or a lone surrogate. Remove it.",
                    param=shown,
                    code="invalid_json",
                )
            cleaned[name] = _cleaned(value)
    return {**body, **cleaned} if cleaned else body


def _check_values(stack: list[Any]) -> bool:
    """Whether there are NUL characters or lone surrogates; rejects integers beyond 64 bits."""
    found = False
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            found = found or _is_unreadable(item)
        elif isinstance(item, dict):
            stack.extend(item.keys())  # pyright: ignore[reportUnknownArgumentType] - JSON
            stack.extend(item.values())  # pyright: ignore[reportUnknownArgumentType] - JSON
        elif isinstance(item, list):
            stack.extend(item)  # pyright: ignore[reportUnknownArgumentType] - JSON
        elif isinstance(item, int) and not -MAX_INT <= item < MAX_INT:
            raise RequestError(
                f"An integer in the JSON is out of range. Send values from {-MAX_INT} to {MAX_INT - 1}.",
                code="invalid_json",
            )
    return found


def _is_unreadable(text: str) -> bool:
    """As `_UNREADABLE.search`, many times as fast: a text may have 32 MB, and no other thread runs meanwhile."""
    if text.isascii():
        return "\0" in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return "\0" in text


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _UNREADABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        items: Any = value.items()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
        return {_cleaned(key): _cleaned(item) for key, item in items}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - JSON
    return value
