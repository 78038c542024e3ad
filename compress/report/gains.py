"""What each stage gained and cost by itself: against the stage it started from, not against the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.core.ledger import Row
from compress.report.wording import finite


@dataclass(frozen=True)
class Gain:
    """One stage against the previous kept one.

    against: that stage's name. latency_factor: how many times faster, below 1 where slower. change: candidate
    minus previous, on the scale of the metric's values. Both are None where one of the two stages was not measured.
    """

    stage: str
    against: str
    kept: bool
    latency_factor: float | None
    change: float | None


def gains_by_stage(rows: Sequence[Row]) -> tuple[Gain, ...]:
    """One entry per row after the teacher's, in order. `rows` starts with the teacher.

    The factor is a quotient of the two speed-ups against the teacher, not of two latencies: each speed-up was measured
    in turns with the teacher, so that a machine that slowed down between two stages does not count as a loss.
    """
    previous = rows[0]
    gains = []
    for row in rows[1:]:
        kept = row.decision == "keep"
        gains.append(Gain(row.stage, previous.stage, kept, _latency_factor(previous, row), _change(previous, row)))
        # A kept stage without measurements (one that had nothing to do) left the model as it was.
        if kept and finite(row.value) is not None:
            previous = row
    return tuple(gains)


def _latency_factor(previous: Row, row: Row) -> float | None:
    before = 1.0 if previous.verdict == "baseline" else finite(previous.speedup)
    after = finite(row.speedup)
    return after / before if before and after is not None else None


def _change(previous: Row, row: Row) -> float | None:
    before, after = finite(previous.value), finite(row.value)
    return after - before if before is not None and after is not None else None
