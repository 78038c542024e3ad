"""Which limit a stage missed, and by how much, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compress.core.ledger import Row
from compress.core.metric import Label
from compress.report import wording
from compress.report.wording import DECIMALS, finite, finite_interval, three_digits


def limits_missed(rows: Sequence[Row], summary: Mapping[str, Any]) -> str | None:
    """Which limits the exported model missed, why it is exported all the same, and how to have it otherwise; None where
    it does not, as far as was measured."""
    row = next((row for row in rows if summary["exported"] and row.stage == summary["exported"]["stage"]), None)
    if row is None or not misses_limits(row, summary["gates"].get(row.stage)):
        return None
    later = [other.stage for other in rows[rows.index(row) + 1 :] if other.decision != "keep"]
    undone = f", and what was made of it ({', '.join(later)}) did not pass either" if later else ""
    return (
        f"the exported model missed its limits: {shortfall(row, summary['gates'].get(row.stage))}. It is exported "
        f"because gates.{row.stage}.on_failure is warn{undone}. To have nothing exported that misses them: "
        f"gates.{row.stage}.on_failure=roll_back."
    )


def misses_limits(row: Row, gate: Mapping[str, Any] | None) -> bool:
    """Whether a stage failed its gate, or what was measured of it lies outside of its limits, be it by chance."""
    if row.verdict == "failed" or gate is None:
        return row.verdict == "failed"
    difference, speedup, least = finite(row.difference), finite(row.speedup), gate["min_speedup"]
    inaccurate = difference is not None and difference < -gate["max_accuracy_drop"]
    return inaccurate or (None not in (speedup, least) and speedup < least)


def shortfall(row: Row, gate: Mapping[str, Any] | None) -> str:
    """Which limit a stage missed and by how much; its recorded reasons where the limits or numbers are not known."""
    found = (
        list(row.missed) if gate is None else [*row.missed, *accuracy_shortfall(row, gate), *speed_shortfall(row, gate)]
    )
    reasons = "; ".join(found) or "; ".join(row.reasons) or "no reason was recorded"
    return f"at stage {row.stage}, {'it broke: ' if row.verdict == 'error' else ''}{reasons}"


def accuracy_shortfall(row: Row, gate: Mapping[str, Any]) -> list[str]:
    """The part of `shortfall` that the metric has; none where it is within its limit."""
    difference, interval = finite(row.difference), finite_interval(row.interval)
    limit, title, unit = -gate["max_accuracy_drop"], row.metric.title, row.metric.unit
    if difference is None:
        return []

    if unit.kind == "ratio":
        return _ratio_shortfall(difference, interval, limit, row.metric)

    def told(missing: float) -> str:
        return wording.counted(wording.amount(-missing, unit, DECIMALS), unit)

    if difference < limit:
        return [
            f"{title} fell {told(limit - difference)} below its limit "
            f"(measured {wording.difference(difference, unit, DECIMALS)}, "
            f"limit {wording.difference(limit, unit, DECIMALS)})"
        ]
    if interval is not None and interval[0] <= limit:
        return [
            f"{title} is not shown to stay within its limit: the interval reaches down to "
            f"{wording.difference(interval[0], unit, DECIMALS)}, {told(limit - interval[0])} below "
            f"{wording.difference(limit, unit, DECIMALS)}"
        ]
    return []


def _ratio_shortfall(difference: float, ends: tuple[float, float] | None, limit: float, metric: Label) -> list[str]:
    """Of a number that grows as things get worse, such as a perplexity."""

    def told(number: float) -> str:
        return wording.difference(number, metric.unit, DECIMALS)

    if difference < limit:
        measured = f"measured {told(difference)} times the teacher's, limit {told(limit)}"
        return [f"{metric.title} rose above its limit ({measured})"]
    if ends is not None and ends[0] <= limit:
        return [
            f"{metric.title} is not shown to stay within its limit: the interval reaches up to {told(ends[0])} "
            f"times the teacher's, the limit is {told(limit)}"
        ]
    return []


def speed_shortfall(row: Row, gate: Mapping[str, Any]) -> list[str]:
    """The part of `shortfall` that the speed-up has; none where it reaches its limit."""
    speedup, interval, limit = finite(row.speedup), finite_interval(row.speedup_interval), gate["min_speedup"]
    if row.disturbance is not None and limit is not None:
        return [f"{row.disturbance.told}, so whether it reaches its limit of {three_digits(limit)} is not known"]
    if speedup is None or limit is None:
        return []
    if speedup < limit:
        return [
            f"the speed-up is {limit - speedup:.{DECIMALS}f} short of its limit "
            f"(measured {three_digits(speedup)}, limit {three_digits(limit)})"
        ]
    if interval is not None and interval[0] < limit:
        return [
            f"the speed-up is not shown to reach its limit: the interval reaches down to {three_digits(interval[0])}, "
            f"{limit - interval[0]:.{DECIMALS}f} short of {three_digits(limit)}"
        ]
    return []
