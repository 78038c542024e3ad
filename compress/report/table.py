"""The run as a table in the terminal, one line as each stage finishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from compress.core.blame import Blame
from compress.core.ledger import Row
from compress.core.metric import Label
from compress.report import wording

STYLES = {"good": "green", "bad": "red", "unsure": "yellow", "plain": "dim"}


@dataclass(frozen=True)
class _Column:
    title: str
    width: int
    text: Callable[[Row], str]
    justify: Literal["left", "right"] = "right"


# Widths and the gaps between them fill 120 columns.
_WIDE = (
    _Column("stage", 14, lambda row: row.stage, "left"),
    _Column("{metric}", 10, lambda row: wording.value(row.value, row.metric.unit, 1)),
    _Column(
        "{against}",
        20,
        lambda row: wording.difference_with_interval(row.difference, row.interval, row.metric.unit, 1),
    ),
    _Column("p50 / p90, ms", 11, lambda row: wording.latency(row.latency_ms_p50, row.latency_ms_p90)),
    _Column("speed-up, same runtime", 17, wording.speedup_of),
    _Column("against PyTorch", 7, lambda row: wording.three_digits(row.speedup_vs_torch)),
    _Column("size, MB", 6, lambda row: wording.megabytes(row.size_bytes)),
    _Column("verdict", 21, wording.verdict_words, "left"),
)

# What a decision needs, in 80 columns; the rest is in the ledger and on the page.
_NARROW = (
    _Column("stage", 12, lambda row: row.stage, "left"),
    _WIDE[1],
    _Column(
        "{against}",
        18,
        lambda row: wording.difference_with_interval(row.difference, row.interval, row.metric.unit, 1),
    ),
    _Column("p50, ms", 6, lambda row: wording.three_digits(row.latency_ms_p50)),
    _Column("speed-up", 6, lambda row: wording.speedup_of(row, interval=False)),
    _Column("size, MB", 6, lambda row: wording.megabytes(row.size_bytes)),
    _Column("verdict", 12, wording.verdict_words, "left"),
)


class StageTable:
    """Prints a run line by line: `header(metric)` once, then `row(row)` as each stage finishes.

    Columns keep their widths from line to line. 120 columns and more show everything; less shows no p90, no interval
    of the speed-up and no comparison with PyTorch. Reasons follow a stage that did not plainly pass.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        wide = console.width >= _total_width(_WIDE, 2)
        self._columns: tuple[_Column, ...] = _WIDE if wide else _NARROW
        self._gap = 2 if wide else 1

    def header(self, metric: Label) -> None:
        """Print the columns' names and units, and a rule."""
        words = {"metric": metric.title, "against": wording.heading("against the teacher", metric.unit)}
        titles = [Text(column.title.format(**words), style="bold") for column in self._columns]
        self._print(titles, "bottom")
        self._console.print(Text("─" * min(_total_width(self._columns, self._gap), self._console.width), style="dim"))

    def row(self, row: Row) -> None:
        """Print one stage. A value that is missing or not a number prints as `-`."""
        tone, powered = wording.verdict_tone(row), row.prediction_powered
        cells = [Text(column.text(row)) for column in self._columns]
        cells[0].stylize("bold")
        cells[-1].stylize(STYLES[tone])
        self._print(cells, "top")
        if row.figures:
            self._indented(wording.figures_sentence(row.figures))
        if powered is not None:
            self._indented(wording.prediction_powered_sentence(powered, row.metric.unit, 1))
        if tone in ("bad", "unsure"):
            for reason in row.reasons:
                self._indented(reason)
        else:
            for finding in row.findings:
                self._indented(finding)
        if row.blame is not None:
            self._blame(row, row.blame)

    def _blame(self, row: Row, blame: Blame) -> None:
        for sentence in wording.blame_sentences(blame, row.metric):
            self._indented(sentence)
        if blame.advice is not None:
            self._console.print(Padding(Text("to try:", style="bold"), (0, 0, 0, 2)))
            # Never broken into lines: it is there to be copied.
            for override in blame.advice.overrides:
                self._console.print(f"    {override}", soft_wrap=True, markup=False, highlight=False)
            self._indented(wording.advice_sentence(blame.advice, row))

    def _indented(self, sentence: str) -> None:
        self._console.print(Padding(Text(sentence, style="dim"), (0, 0, 0, 2)))

    def _print(self, cells: list[Text], vertical: Literal["top", "bottom"]) -> None:
        line = Table.grid(padding=(0, self._gap, 0, 0))
        for column in self._columns:
            line.add_column(width=column.width, justify=column.justify, vertical=vertical, overflow="fold")
        line.add_row(*cells)
        self._console.print(line)


def _total_width(columns: tuple[_Column, ...], gap: int) -> int:
    return sum(column.width for column in columns) + gap * (len(columns) - 1)
