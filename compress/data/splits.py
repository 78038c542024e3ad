"""Pure pieces that every source shares: hold out a share, number groups, fingerprint content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from compress.core.context import FILE
from compress.core.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset


def require_share(name: str, value: object) -> None:
    """Require 0 < value < 1: both sides of a split need examples."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise InputError(f"{name} is {value}; it must lie in (0, 1), both ends excluded. Use 0.2 for one fifth.")


def held_out(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which rows to hold out, as a boolean per row: whole groups, their rows as near to `share` of all as they come.

    groups: (rows,), the group number of each row. The groups are walked in an order drawn by `seed`; one is held out
    where that brings the number of rows nearer to the target, so the result is off by at most half of the largest
    group. At least one group is held out and one is left. Raises ValueError for fewer than two groups.
    """
    numbers, sizes = np.unique(groups, return_counts=True)
    if len(numbers) < 2:
        raise ValueError(f"{len(numbers)} groups cannot be put on two sides")
    order = np.random.default_rng(seed).permutation(len(numbers)).tolist()
    missing = share * len(groups)
    chosen = []
    for position in order:
        if sizes[position] < 2 * missing:
            chosen.append(position)
            missing -= sizes[position]
    if not chosen:
        chosen = [min(order, key=lambda position: sizes[position])]
    if len(chosen) == len(numbers):
        chosen.remove(min(order, key=lambda position: sizes[position]))
    return np.isin(groups, numbers[chosen])


def number_groups(columns: Sequence[Sequence[object]]) -> list[list[int]]:
    """The values of several columns as numbers from 0, in order of appearance: the same value, the same number.

    Values are compared as text, so that 7 in one file and "7" in another are one group.
    """
    values = [str(value) for column in columns for value in column]
    numbers = pd.factorize(np.array(values, dtype=object))[0].tolist()
    ends = np.cumsum([len(column) for column in columns]).tolist()
    return [numbers[end - len(column) : end] for column, end in zip(columns, ends, strict=True)]


def fingerprint(dataset: Dataset) -> str:
    """A sha256 of content: column names in alphabetical order, and each column's values in row order.

    Independent of the path (and of the column FILE, which holds paths), the file format, the order of columns, and how
    the values are stored (32 or 64 bits, chunks). Text, whole numbers, fractions and truth values are different kinds:
    "1" is not 1.
    """
    digest = hashlib.sha256(f"{len(dataset)} rows".encode())
    # Parts of a fixed number of rows: the memory stays small, and the chunks that a file happens to have do not count.
    for table in dataset.with_format("arrow").iter(batch_size=10_000):
        for name in sorted(set(table.column_names) - {FILE}):
            digest.update(f"column {name!r}".encode())
            _add(digest, pa.concat_arrays(table[name].chunks))
    return digest.hexdigest()


def _add(digest: Any, values: pa.Array) -> None:
    """Add one array. Each part is preceded by its length, so that no two contents give the same bytes."""
    if values.null_count == len(values):
        digest.update(f"nothing {len(values)}".encode())
        return
    if values.null_count:
        digest.update(b"nulls" + np.packbits(pc.is_null(values).to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type):
        _add_numbers(digest, "lists", pc.fill_null(pc.list_value_length(values), 0), np.int64)
        _add(digest, values.flatten())
    elif pa.types.is_struct(values.type):
        for field, part in sorted(zip(values.type.names, values.flatten(), strict=True), key=lambda pair: pair[0]):
            digest.update(f"field {field!r}".encode())
            _add(digest, part)
    elif pa.types.is_boolean(values.type):
        _add_numbers(digest, "truths", pc.fill_null(values, False), np.uint8)
    elif pa.types.is_integer(values.type):
        _add_numbers(digest, "whole", pc.fill_null(values, 0), np.int64)
    elif pa.types.is_floating(values.type):
        _add_numbers(digest, "fractions", pc.fill_null(values, 0.0), np.float64)
    else:
        _add_text(digest, values)


def _add_numbers(digest: Any, kind: str, values: pa.Array, dtype: type) -> None:
    digest.update(f"{kind} {len(values)}".encode())
    digest.update(values.to_numpy(zero_copy_only=False).astype(dtype).tobytes())


def _add_text(digest: Any, values: pa.Array) -> None:
    """Add text, or what has no number of its own (dates, decimals, bytes), as its lengths and its characters."""
    is_bytes = pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)
    text = values.cast(pa.large_binary() if is_bytes else pa.large_string()).drop_null().cast(pa.large_binary())
    _add_numbers(digest, "bytes" if is_bytes else "text", pc.binary_length(text), np.int64)
    _, offsets, characters = text.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    digest.update(memoryview(characters)[ends[0] : ends[-1]] if characters is not None else b"")
