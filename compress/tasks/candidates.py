"""Queries and the passages that are ordered for them, a passage or a list of them in each example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.core.errors import ExampleError
from compress.tasks.scores import written_scores
from compress.tasks.text import column_of


@dataclass(frozen=True)
class Candidates:
    """Pairs of a query and a passage, one after the other. labels: a number for each, or None. examples: the number of
    the example that each comes from. groups: of each, the number of what belongs together."""

    queries: tuple[str, ...]
    passages: tuple[str, ...]
    labels: list[float] | None
    examples: tuple[int, ...]
    groups: tuple[int, ...]

    def select(self, rows: Sequence[int]) -> Candidates:
        """Those of these numbers, in this order."""
        return Candidates(
            tuple(self.queries[row] for row in rows),
            tuple(self.passages[row] for row in rows),
            None if self.labels is None else [self.labels[row] for row in rows],
            tuple(self.examples[row] for row in rows),
            tuple(self.groups[row] for row in rows),
        )

    def by_example(self, values: Sequence[float], count: int) -> list[list[float]]:
        """A value of each pair, in a list for each of the `count` examples."""
        found: list[list[float]] = [[] for _ in range(count)]
        for example, value in zip(self.examples, values, strict=True):
            found[example].append(value)
        return found


def candidates_of(examples: Any, columns: Sequence[str], label: str | None, split: str) -> Candidates:
    """The pairs of raw examples. columns: of queries and of passages. label: the column of numbers, or None.

    Without a column `group` the pairs of one query are a group. Raises InputError where a column is missing, and
    ExampleError where a text is empty, a list has no passage or other labels than passages, and for what is no number.
    """
    queries = column_of(examples, columns[0], "data.query", split)
    lists = [_listed(value) for value in column_of(examples, columns[1], "data.passage", split)]
    numbers = [list(range(len(queries)))] if label is None else [column_of(examples, label, "data.label", split)]
    for row, (query, passages) in enumerate(zip(queries, lists, strict=True)):
        _require_text(query, f"data.query={columns[0]}: ", split, row)
        if not passages:
            place = f"data.passage={columns[1]}: "
            raise ExampleError(place, split, row, "has no passages; every query needs some. Remove the row.")
        for passage in passages:
            _require_text(passage, f"data.passage={columns[1]}: ", split, row)
    labels = None if label is None else _labels(numbers[0], lists, label, split)
    first: dict[str, int] = {}
    own = [first.setdefault(query, len(first)) for query in queries]
    groups = list(examples["group"]) if "group" in examples.column_names else own
    places = [row for row, passages in enumerate(lists) for _ in passages]
    return Candidates(
        tuple(queries[row] for row in places),
        tuple(passage for passages in lists for passage in passages),
        labels,
        tuple(places),
        tuple(groups[row] for row in places),
    )


def gains_of(labels: np.ndarray, *, teacher: bool) -> np.ndarray:
    """How relevant the passages of one query are, each 0 or more, (passages,). labels: what they were judged, of which
    those below 0 are not relevant; or a teacher's scores: a gain is then by how much one is above their mean."""
    return np.maximum(labels - labels.mean() if teacher else labels, 0.0)


def judged_rows(queries: Sequence[str], labels: Sequence[float], *, teacher: bool) -> list[int]:
    """The rows of queries whose passages can be ordered well or badly: there are two or more, and one is relevant. See
    `gains_of`."""
    rows: dict[str, list[int]] = {}
    for row, query in enumerate(queries):
        rows.setdefault(query, []).append(row)
    values = np.asarray(labels, dtype=np.float64)
    kept = [own for own in rows.values() if len(own) > 1 and gains_of(values[own], teacher=teacher).any()]
    return sorted(row for own in kept for row in own)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _require_text(value: Any, place: str, split: str, row: int) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ExampleError(place, split, row, f"has no text ({value!r}); every pair needs two. Remove the row.")


def _labels(values: Sequence[Any], lists: Sequence[Sequence[str]], column: str, split: str) -> list[float]:
    found: list[float] = []
    for row, (value, passages) in enumerate(zip(values, lists, strict=True)):
        own = _listed(value)
        if len(own) != len(passages):
            told = f"has {len(passages)} passages and {len(own)} labels; each passage needs one. Mend the row."
            raise ExampleError(f"data.label={column}: ", split, row, told)
        try:
            found += written_scores(own, column, split)
        except ExampleError as error:
            # It was counted inside of this example.
            raise error.at(split, row) from None
    return found
