"""Inputs that are longer than the model reads: cut into windows, whose vectors are averaged."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Ids = Sequence[int]
Truncate = Literal["start", "end"]


def windows(ids: Ids, limit: int, head: int, tail: int) -> list[Ids]:
    """The input in as few windows of equal length as possible.

    Args:
        ids: The tokens, with the special tokens of their model.
        limit: The most tokens of a window.
        head: How many special tokens it begins with; every window gets them.
        tail: How many it ends with.
    """
    if len(ids) <= limit:
        return [ids]
    body = list(ids[head : len(ids) - tail])
    count = -(-len(body) // (limit - head - tail))
    length = -(-len(body) // count)
    first, last = list(ids[:head]), list(ids[len(ids) - tail :])
    return [[*first, *body[start : start + length], *last] for start in range(0, len(body), length)]


def truncated(ids: Ids, limit: int, head: int, tail: int, side: Truncate) -> Ids:
    """The input without what is too long at its start or at its end. Arguments: as for `windows`."""
    if len(ids) <= limit:
        return ids
    body, room = list(ids[head : len(ids) - tail]), limit - head - tail
    kept = body[-room:] if side == "start" else body[:room]
    return [*ids[:head], *kept, *ids[len(ids) - tail :]]


def averaged(vectors: Sequence[bytes], lengths: Sequence[int]) -> bytes:
    """The mean of the vectors of windows, weighted by their tokens, of length one. float32 little-endian."""
    if len(vectors) == 1:
        return vectors[0]
    stacked = np.stack([np.frombuffer(vector, "<f4") for vector in vectors])
    mean = np.average(stacked, axis=0, weights=lengths)
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype("<f4").tobytes()
