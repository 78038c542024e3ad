"""Pairs of texts that people rated by how alike they are, as in STS benchmarks, in a file with a pair on each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from compress.core.errors import InputError
from compress.data.formats import read_file
from compress.tasks.ranking import GRADES, MATE, NAME, RATED, RELEVANT, ROLE


def rated_split(setting: str, name: str, columns: Sequence[str], text: str) -> Dataset:
    """Two rows for each pair, its first text and then its second. setting: which names the file. columns: what the
    first text, the second and the rating are called. text: what the column of texts is to be called; the others:
    `role`, `name`, and of first texts the name of the other as `relevant` and the rating as its grade.

    Raises InputError where the file cannot be used.
    """
    table = read_file(setting, name)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise InputError(
            f"data.pair_columns is {list(columns)}, and {setting} has no column {missing[0]!r} (found: "
            f"{', '.join(table.column_names)}). Name the two columns of texts and the one of ratings, in this order."
        )
    pairs = list(zip(*(table[column] for column in columns), strict=True))
    rows: list[dict[str, Any]] = []
    for number, (first, second, rating) in enumerate(pairs, start=1):
        place = f"{setting}, row {number}"
        mate = f"{number}b"
        said = {RELEVANT: [mate], GRADES: [_number(rating, columns[2], place)]}
        rows.append({text: _text(first, columns[0], place), ROLE: RATED, NAME: f"{number}a", **said})
        rows.append({text: _text(second, columns[1], place), ROLE: MATE, NAME: mate, RELEVANT: [], GRADES: []})
    if len({row[GRADES][0] for row in rows[::2]}) < 2:
        raise InputError(
            f"{setting}: all {len(pairs)} ratings in {columns[2]!r} are equal, so nothing can be told better from "
            "worse. Give pairs that are alike and pairs that are not."
        )
    return Dataset.from_list(rows)


def _text(value: Any, column: str, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: {column!r} is {value!r}; it must be a text. Correct it, or remove the row.")
    return value


def _number(value: Any, column: str, place: str) -> float:
    """A rating; files of comma-separated values have them as text."""
    try:
        found = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"{place}: {column!r} is {value!r}; it must be a number. Correct it, or remove the row.")
    return found
