"""What a machine does to measurements, and how well times are predicted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.render.table import Column, Result, Table, threads, versions

# What was claimed beside others, and how much of it was wrong.
BUSY = Table(
    Column("pair", "pair"),
    Column("beside", "beside"),
    Column("runs", "runs"),
    Column("not measured", "not_measured"),
    Column("claims", "claims"),
    Column("wrong claims", "wrong_claims"),
    Column("wrong, had nobody looked", "ignoring"),
)


def _gain(gains: Sequence[float]) -> str:
    return f"{statistics.median(gains):.2f} [{min(gains):.2f}, {max(gains):.2f}]"


# What a training gains whose threads spin less, beside what.
WAITING = Table(
    Column("beside", "case"),
    Column("a step, spinning, ms", "milliseconds.spinning", "{:.0f}"),
    Column("spinning briefly, times as fast", "gains.brief", _gain),
    Column("asleep, times as fast", "gains.asleep", _gain),
    above=lambda result: f"{result['date']}, {threads(result)}, {versions(result, 'torch')}.",
)


def _sizes(shape: Sequence[Sequence[int]], which: int) -> str:
    sizes = [layer[which] for layer in shape]
    return str(sizes[0]) if len(set(sizes)) == 1 else ", ".join(map(str, sizes))


def _beside(predicted: float, measured: float) -> str:
    return f"{predicted:.2f} ({predicted / measured - 1:+.0%})"


def _told(result: Result) -> str:
    return f"{result['date']}, {threads(result)}, texts of {result['lengths']} tokens."


# What a latency table says of whole models, and what they took.
PREDICTIONS = Table(
    Column("layers", "shape", lambda shape: str(len(shape))),
    Column("heads", "shape", lambda shape: _sizes(shape, 0)),
    Column("neurons", "shape", lambda shape: _sizes(shape, 1)),
    Column("measured, times the teacher", "measured", "{:.2f}"),
    Column("predicted", "predicted, measured", _beside),
    Column("by the parts alone", "by_parts, measured", _beside),
    above=_told,
)
