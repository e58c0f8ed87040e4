"""Checks the headers of untrusted weight files. No weights are read.

`adapters/memory/weight_files.py` reads what the headers say (memory, types).
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}
"""Bits of one element by safetensors dtype (github.com/huggingface/safetensors, tensor.rs)."""
MAX_HEADER_BYTES = 100_000_000
"""The limit of the reference implementation of safetensors."""
GGUF_VERSIONS = range(1, 10)


def is_ctranslate2(path: Path) -> bool:
    """Whether the weights are CTranslate2's: version (uint32), then the length (uint16) and name of a "...Spec".

    No pickle starts with such a version, so the file cannot be a pickle as well.
    """
    with path.open("rb") as file:
        head = file.read(6)
        if len(head) < 6:
            return False
        version, length = struct.unpack("<IH", head)
        return 1 <= version <= 32 and 5 <= length <= 64 and file.read(length).rstrip(b"\0").endswith(b"Spec")


def gguf_problems(path: Path) -> Iterator[str]:
    """Why a file is not GGUF."""
    with path.open("rb") as file:
        magic, version = file.read(4), file.read(4)
    if magic != b"GGUF" or int.from_bytes(version, "little") not in GGUF_VERSIONS:
        yield "it is not a GGUF file"


def read_safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file (tensors by name, and "__metadata__"), and how many bytes of weights follow it.

    Raises:
        ValueError: It is longer than the file, or not a JSON object.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            raise ValueError("its header is longer than the file")
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates)
        if not text.startswith(b"{"):
            raise ValueError("not an object")
    except (ValueError, RecursionError):
        raise ValueError("its header is not JSON") from None
    return header, size - 8 - length


def safetensors_problems(path: Path) -> Iterator[str]:
    """Why a file is no safetensors: its tensors must tile it exactly, each as long as its type and shape need."""
    try:
        header, weight_bytes = read_safetensors_header(path)
    except ValueError as error:
        yield str(error)
        return
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in cast(Any, metadata).values()):
        yield "its metadata must be strings"
    spans: list[tuple[int, int]] = []
    for name, tensor in header.items():
        try:
            bits, shape, (begin, end) = BITS[tensor["dtype"]], tensor["shape"], tensor["data_offsets"]
            if any(type(number) is not int or not 0 <= number < 2**63 for number in (*shape, begin, end)):
                raise ValueError("a number is out of range")
        except (KeyError, TypeError, ValueError):
            yield f"its header has a wrong entry for {name[:80]!r}"
            return
        for number in shape:
            bits *= number
        if bits != (end - begin) * 8:
            yield f"its header has a wrong size for {name[:80]!r}"
            return
        spans.append((begin, end))
    expected = 0
    for begin, end in sorted(spans):
        if begin != expected:
            yield "its tensors overlap or have gaps between them"
            return
        expected = end
    if expected != weight_bytes:
        yield f"it has {weight_bytes} bytes of weights, and its header says {expected}"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate names: with duplicates, two readers could see different files."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("duplicate name")
    return dict(pairs)
