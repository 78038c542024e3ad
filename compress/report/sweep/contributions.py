"""What each stage gave over all runs: each piece of work once, however many runs shared it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from compress.core.ledger import Row
from compress.report.gains import Gain, gains_by_stage
from compress.report.sweep.runs import Run
from compress.report.wording import finite


@dataclass(frozen=True)
class Piece:
    """One model made from another. speed: times as fast as the one it started from. metric: the change.

    size: times as many bytes as before. Each is None where it was not measured.
    """

    kept: bool
    speed: float | None
    metric: float | None
    size: float | None


@dataclass(frozen=True)
class Spread:
    """Median and ends of what was measured."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Contribution:
    """A stage over the runs. pieces: different models that it made of different models; runs: that have it.

    broke: runs that ended in it with an error.
    """

    stage: str
    runs: int
    broke: int
    pieces: tuple[Piece, ...]

    @property
    def kept(self) -> int:
        """Pieces that some run kept."""
        return sum(piece.kept for piece in self.pieces)

    def spread(self, of: str) -> Spread | None:
        """Of `speed`, `metric` or `size`; None where no piece was measured."""
        values = [value for piece in self.pieces if (value := getattr(piece, of)) is not None]
        return Spread(median(values), min(values), max(values)) if values else None


def contributions(runs: Sequence[Run]) -> list[Contribution]:
    """One entry per stage, in the order in which the runs have them."""
    pieces: dict[str, dict[tuple[str, str], Piece]] = {}
    counts: dict[str, int] = {}
    broke: dict[str, int] = {}
    for run in runs:
        if not run.rows:
            continue
        by_stage = {row.stage: row for row in run.rows}
        for row, gain in zip(run.rows[1:], gains_by_stage(run.rows), strict=True):
            counts[row.stage] = counts.get(row.stage, 0) + 1
            broke[row.stage] = broke.get(row.stage, 0) + (row.verdict == "error")
            made = pieces.setdefault(row.stage, {})
            if row.artifact is None:
                continue
            before = by_stage[gain.against]
            key = (str(before.artifact), row.artifact)
            # The same model may pass one run's gate and fail another's.
            kept = gain.kept or (key in made and made[key].kept)
            made[key] = _piece(before, row, gain, kept)
    return [
        Contribution(stage, counts[stage], broke[stage], tuple(made.values()))
        for stage, made in _in_order(pieces, runs)
    ]


def _piece(before: Row, row: Row, gain: Gain, kept: bool) -> Piece:
    was, is_now = finite(before.size_bytes), finite(row.size_bytes)
    return Piece(kept, gain.latency_factor, gain.change, is_now / was if was and is_now else None)


def _in_order(
    pieces: dict[str, dict[tuple[str, str], Piece]], runs: Sequence[Run]
) -> list[tuple[str, dict[tuple[str, str], Piece]]]:
    """By the mean place that a stage has in the runs."""
    places: dict[str, list[int]] = {stage: [] for stage in pieces}
    for run in runs:
        for place, row in enumerate(run.rows[1:]):
            places[row.stage].append(place)
    return sorted(pieces.items(), key=lambda item: sum(places[item[0]]) / len(places[item[0]]))
