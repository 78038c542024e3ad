"""A table as a list of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]
RATIO = "{0:.2f} [{1[0]:.2f}, {1[1]:.2f}]"


@dataclass(frozen=True)
class Column:
    """heading: above it. where: the place of the value in a row, names with dots between them; several, with commas,
    are written together; or a function of the row. form: how the values are written, for `str.format`, or a function. The cell of a value that is null is empty. optional: so is that of one that is not there; else a KeyError."""

    heading: str
    where: str | Callable[[Any], Any]
    form: str | Callable[..., str] = "{}"
    optional: bool = False

    def cell(self, row: Any) -> str:
        """Of one row."""
        if callable(self.where):
            values = [self.where(row)]
        else:
            values = [self._at(row, place) for place in self.where.split(", ")]
        if any(value is None for value in values):
            return ""
        return self.form(*values) if callable(self.form) else self.form.format(*values)

    def _at(self, row: Any, place: str) -> Any:
        for name in place.split("."):
            row = row.get(name) if self.optional else row[name]
            if row is None:
                return None
        return row


class Table:
    """rows: which list of the results has a row for each line. above: a paragraph before the table."""

    def __init__(self, *columns: Column, rows: str = "rows", above: Callable[[Result], str] | None = None) -> None:
        self.columns, self.rows, self.above = columns, rows, above

    def __call__(self, result: Result) -> str:
        """In Markdown."""
        table = self.of(result[self.rows])
        return table if self.above is None else f"{self.above(result)}\n\n{table}"

    def of(self, rows: Sequence[Any]) -> str:
        """In Markdown, of these rows."""
        return markdown([column.heading for column in self.columns], [self.cells(row) for row in rows])

    def cells(self, row: Any) -> list[str]:
        """Of one row."""
        return [column.cell(row) for column in self.columns]


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are as wide as their widest cell."""
    widths = [max(len(row[number]) for row in (headings, *rows)) for number in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])


def hundredfold(form: str) -> Callable[[float], str]:
    """A share in points."""
    return lambda share: format(100 * share, form)


def millionth(form: str) -> Callable[[float], str]:
    """Bytes in megabytes."""
    return lambda count: format(count / 1e6, form)


def threads(result: Result) -> str:
    """With how many, of what processor."""
    return f"{result['machine']['threads']} threads of {result['machine']['cpu']}"


def versions(result: Result, *names: str) -> str:
    """Of these libraries, as far as the results name them."""
    return ", ".join(f"{name} {result['versions'][name]}" for name in names if name in result["versions"])
