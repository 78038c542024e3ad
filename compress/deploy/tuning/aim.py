"""What is asked of a setting, what was measured of it, and whether one is better than another. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.core.checks import require_positive
from compress.core.errors import InputError
from compress.core.evaluation import Interval, Latency
from compress.deploy.settings import Settings
from compress.measure.latency import Rounds
from compress.measure.statistics import speedup

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Measured:
    """rounds: milliseconds of each call, `rounds[round][call]`. examples: of all calls of a round together."""

    settings: Settings
    rounds: Rounds
    launches: int
    examples: int

    def latency_ms(self, quantile: float) -> float:
        """Of a call, over all calls and rounds."""
        return float(np.quantile(np.asarray(self.rounds), quantile))

    @property
    def throughput(self) -> float:
        """Examples in a second: of each call the median over rounds."""
        return 1000 * self.examples / float(np.median(np.asarray(self.rounds), axis=0).sum())


@dataclass(frozen=True, kw_only=True)
class Aim:
    """slo_ms: the `quantile` of a call's latency that may not be exceeded, with as many examples in a second as there
    may be; None for the least time of a call with one example."""

    slo_ms: float | None
    quantile: float

    def __post_init__(self) -> None:
        if self.slo_ms is not None:
            require_positive("--slo-ms", self.slo_ms, "Use 20 for 20 milliseconds.")
        if not 0 < self.quantile < 1:
            raise InputError(f"--quantile is {self.quantile}; it must lie in (0, 1). Use 0.95 for 95% of the calls.")

    def met_by(self, measured: Measured, headroom: float = 1.0) -> bool:
        """Whether it keeps within the latency. headroom: the share of it that may be used up."""
        return self.slo_ms is None or measured.latency_ms(self.quantile) <= self.slo_ms * headroom

    def __str__(self) -> str:
        if self.slo_ms is None:
            return "the least time for one example"
        return f"most examples per second, {self.quantile:.0%} of calls within {self.slo_ms:g} ms"


@dataclass(frozen=True)
class Compared:
    """ratio: how many times as many examples in a second as the one that it is compared with."""

    measured: Measured
    ratio: float
    interval: Interval


def compare(before: Measured, after: Measured, confidence: float) -> Compared:
    """Two that took turns on the same examples, however they were cut into calls."""
    latency = Latency(rounds=after.rounds, baseline_rounds=before.rounds, launches=before.launches)
    return Compared(after, *speedup(latency, confidence))


def choose(
    before: Measured, others: Sequence[Measured], aim: Aim, headroom: float
) -> tuple[Measured, tuple[Compared, ...]]:
    """The one to go on with, and each compared with what there was before.

    That stays unless another is shown to be faster: its interval, corrected for how many are looked at, lies above 1.
    Where it misses the latency, one that keeps it is better whatever the intervals say; where all miss it, the one that
    comes nearest.
    """
    confidence = 1 - (1 - CONFIDENCE) / len(others)
    compared = tuple(compare(before, other, confidence) for other in others)
    within = [one for one in compared if aim.met_by(one.measured, headroom)]
    if not aim.met_by(before, headroom):
        if within:
            return max(within, key=lambda one: one.ratio).measured, compared
        return min((before, *others), key=lambda one: one.latency_ms(aim.quantile)), compared
    faster = [one for one in within if one.interval[0] > 1]
    return max(faster, key=lambda one: one.ratio).measured if faster else before, compared
