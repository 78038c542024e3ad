"""What a stage did to each of many parts: a table for pages and cards, whose values keep their kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# text; a whole number; a fraction of 1; milliseconds; any other number.
Kind = Literal["text", "count", "share", "milliseconds", "number"]
KINDS: tuple[Kind, ...] = ("text", "count", "share", "milliseconds", "number")
Value = str | int | float | None


@dataclass(frozen=True)
class FactTable:
    """title: a line above it. columns: each column's heading and what its values are. rows: as many values each as
    there are columns; None where there is none."""

    title: str
    columns: tuple[tuple[str, Kind], ...]
    rows: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {self.title!r} has {len(row)} values for {len(self.columns)} columns")
        for heading, kind in self.columns:
            if kind not in KINDS:
                raise ValueError(f"the column {heading!r} of {self.title!r} is of the kind {kind!r}")

    @classmethod
    def of(cls, title: str, columns: Sequence[tuple[str, Kind]], rows: Sequence[Sequence[Value]]) -> FactTable:
        """From a heading and kind for each column; headings may occur twice."""
        return cls(title, tuple(columns), tuple(tuple(row) for row in rows))

    @property
    def shown(self) -> FactTable:
        """Without the columns that have no value in any row: what is shown."""
        filled = [i for i in range(len(self.columns)) if any(row[i] is not None for row in self.rows)]
        columns = tuple(self.columns[i] for i in filled)
        return FactTable(self.title, columns, tuple(tuple(row[i] for i in filled) for row in self.rows))

    def to_json(self) -> dict[str, Any]:
        """As manifests and ledgers hold it."""
        return {
            "title": self.title,
            "columns": [list(column) for column in self.columns],
            "rows": [list(row) for row in self.rows],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FactTable:
        """What `to_json` gave. Raises ValueError, TypeError or KeyError for what is none."""
        columns = tuple((str(heading), kind) for heading, kind in data["columns"])
        rows = tuple(tuple(row) for row in data["rows"])
        for value in (value for row in rows for value in row):
            if value is not None and not isinstance(value, str | int | float):
                raise TypeError(f"{value!r} is no value of a table")
        return cls(str(data["title"]), columns, rows)
