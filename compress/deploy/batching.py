"""Which examples are computed together, and how they are padded. Plain arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Of a row: as long as the longest of its batch; or as the next power of two, so that a runtime that prepares itself for
# each shape meets few of them.
PADDINGS = ("longest", "powers")
SHORTEST_POWER = 8


def batches_of(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """The places of all examples, those of like length together, at most `batch_size` in a batch; the longest first, so
    that memory that is kept for the next call is large enough at once."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded_length(longest: int, padding: str, most: int) -> int:
    """How long the rows of a batch become. most: the longest that the model takes; none is longer."""
    if padding == "longest":
        return longest
    return min(most, max(SHORTEST_POWER, 1 << (longest - 1).bit_length()))


def padded(rows: Sequence[Sequence[int]], width: int, fill: int) -> np.ndarray:
    """(rows, width) in int64, each row filled up at its end."""
    made = np.full((len(rows), width), fill, dtype=np.int64)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made
