"""JSON bodies: decoded within limits, and without characters that no model and no database can hold."""

import re
from collections.abc import Iterator
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
"""A larger value is decoded item by item, and a larger string piece by piece: while one is decoded, no other thread of
this process runs."""
MAX_INT = 2**63
"""Integers beyond 64 bits have no meaning in this API, and some libraries fail on them."""
READ_BY_MODELS = frozenset({
    "messages", "input", "instructions", "prompt", "suffix", "tools", "functions", "questions", "prediction",
    "metadata", "client_metadata",
})  # fmt: skip
"""Fields of JSON bodies that hold conversations and texts, where tools and files may leave any character."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Of UTF-8, which .NET and PowerShell write."""
_HIGH, _LOW = rb"\\u[dD][89abAB][\da-fA-F]{2}", rb"\\u[dD][c-fC-F][\da-fA-F]{2}"
_LONE_SURROGATE = re.compile(
    rb"(?:(?<!\\)|(?<=(?<!\\)\\\\))(?:%b(?!%b)|(?<!%b)%b)|\xed[\xa0-\xbf][\x80-\xbf]" % (_HIGH, _LOW, _HIGH, _LOW)
)
"""Its escape, which no backslash escapes, or its bytes."""
_WHOLE_CHARACTERS = re.compile(
    rb"(?:[^\\]++|%b%b|%b(?=[\s\S]{6})|\\u(?![dD][89abAB])[\da-fA-F]{4}|\\[^u])*+" % (_HIGH, _LOW, _HIGH)
)
"""As much of JSON as has no half of an escape sequence, or of two that are one character, at its end."""


def decode(body: bytes) -> dict[str, Any]:
    """Decodes and checks a JSON object.

    Raises:
        RequestError: 400, 413.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    # Decoding blocks the interpreter, for a time that depends on the number of values, not of bytes.
    if _count(body) > MAX_JSON_VALUES:
        raise RequestError(
            f"The JSON has more than {MAX_JSON_VALUES} values. Send fewer.", code="request_too_large", status=413
        )
    try:
        value = _decode_in_pieces(body)
    except RecursionError:
        raise RequestError("The JSON is nested too deeply. Send a flatter object.", code="invalid_json") from None
    except ValueError as error:  # msgspec's errors and bad UTF-8
        value = _without_surrogates(body, error)
    if not isinstance(value, dict):
        raise RequestError('The body must be a JSON object, such as {"model": "..."}.', code="invalid_json")
    try:
        return _checked(value)  # pyright: ignore[reportUnknownArgumentType] - JSON
    except RecursionError:
        raise RequestError("The JSON is nested too deeply. Send a flatter object.", code="invalid_json") from None


def _count(body: bytes) -> int:
    pieces = range(0, len(body), PIECE_BYTES)
    return sum(body.count(mark, at, at + PIECE_BYTES) for at in pieces for mark in (b",", b"[", b"{"))


def _decode_in_pieces(body: bytes | msgspec.Raw, levels: int = MAX_LEVELS) -> Any:
    if len(memoryview(body)) < PIECE_BYTES:
        return msgspec.json.decode(body)
    first = bytes(memoryview(body)[:PIECE_BYTES]).lstrip()[:1]
    if first == b'"':
        string = bytes(body).strip()
        return "".join(msgspec.json.decode(b'"%b"' % piece) for piece in _pieces(string, 1, len(string) - 1))
    if levels and first == b"{":
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return {name: _decode_in_pieces(value, levels - 1) for name, value in fields.items()}
    if levels and first == b"[":
        return [_decode_in_pieces(value, levels - 1) for value in msgspec.json.decode(body, type=list[msgspec.Raw])]
    return msgspec.json.decode(body)


def _pieces(data: bytes, start: int, end: int) -> Iterator[bytes]:
    """Pieces of JSON that are cut between characters.

    Raises:
        ValueError: An escape sequence is invalid.
    """
    while start < end:
        stop = min(start + PIECE_BYTES, end)
        if stop < end and data.find(b"\\", start, stop) >= 0:
            found = _WHOLE_CHARACTERS.match(data, start, stop)
            if found is None or found.end() == start:
                raise ValueError("JSON is malformed: invalid escape sequence")
            stop = found.end()
        for _ in range(3):
            if stop < end and data[stop] & 0xC0 == 0x80:  # within a character of UTF-8
                stop -= 1
        yield data[start:stop]
        start = stop


def _without_surrogates(body: bytes, error: ValueError) -> Any:
    """The JSON with NUL in place of lone surrogates, which `_checked` handles alike, where these are the fault."""
    with suppress(ValueError, RecursionError):
        repaired = b"".join(_LONE_SURROGATE.sub(rb"\\u0000", piece) for piece in _pieces(body, 0, len(body)))
        if repaired != body:
            return _decode_in_pieces(repaired)
    raise RequestError(f"The body is not valid JSON: {error}.", code="invalid_json") from None


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    """The body, with U+FFFD for NUL (and lone surrogates) in what a model reads; both are refused elsewhere.

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
    """Whether there are NUL characters; rejects integers beyond 64 bits."""
    found = False
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            found = found or "\0" in item
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


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        pieces = range(0, len(value), PIECE_BYTES)
        return "".join(value[at : at + PIECE_BYTES].replace("\0", "\ufffd") for at in pieces)
    if isinstance(value, dict):
        items: Any = value.items()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
        return {_cleaned(key): _cleaned(item) for key, item in items}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - JSON
    return value
