"""Spearman's rank correlation of the model's scores with the true ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from scipy.stats import rankdata

from compress.core.metric import CORRELATION, Unit
from compress.tasks.metrics.sums import divided

# Numbers held at once while groups are left out.
AT_ONCE = 2_000_000


class Spearman:
    """truth, score: one example's. Only their order among all examples counts; equal ones share the mean rank."""

    name: ClassVar[str] = "spearman"
    title: ClassVar[str] = "Spearman correlation"
    unit: ClassVar[Unit] = CORRELATION
    columns: ClassVar[tuple[str, ...]] = ("truth", "score")
    proportion: ClassVar[bool] = False
    thing: ClassVar[str] = "example"

    def value(self, statistics: np.ndarray) -> float:
        """0 where all truths or all scores are equal."""
        ranks = rankdata(statistics, axis=0)
        return float(_correlations([rank[None] for rank in ranks.T], np.ones((1, len(ranks)), dtype=bool))[0])

    def without(self, statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """See Metric. A rank falls by the number of examples left out below it, and by half of those equal to it."""
        ranks, count = rankdata(statistics, axis=0), int(groups.max()) + 1
        falls = [_falls(column, groups, count) for column in statistics.T]
        return np.concatenate(
            [
                _correlations(
                    [rank - fall(part) for rank, fall in zip(ranks.T, falls, strict=True)], groups != part[:, None]
                )
                for part in np.array_split(np.arange(count), math.ceil(count * len(groups) / AT_ONCE))
            ]
        )

    def one_lost(self, statistics: np.ndarray) -> float:
        """An example of whose place the model knows nothing: with uniform ranks its squared distance is (n² - 1) / 6 on
        average, and the correlation 1 - 6 sum of squares / (n (n² - 1))."""
        return 1.0 / len(statistics)


def _falls(column: np.ndarray, groups: np.ndarray, count: int) -> Callable[[np.ndarray], np.ndarray]:
    """By how much each example's rank falls without each of some groups, (groups, examples)."""
    levels, place = np.unique(column, return_inverse=True)
    equal = np.bincount(groups * len(levels) + place, minlength=count * len(levels)).reshape(count, -1)
    fallen = equal.cumsum(axis=1) - equal / 2
    return lambda part: fallen[part][:, place]


def _correlations(ranks: Sequence[np.ndarray], left: np.ndarray) -> np.ndarray:
    """Pearson's of two columns in each line, of those examples that are left; 0 where one is constant.

    ranks: two of (lines, examples). left: (lines, examples).
    """
    first, second = (
        np.where(left, rank - (rank * left).sum(axis=1, keepdims=True) / left.sum(axis=1, keepdims=True), 0.0)
        for rank in ranks
    )
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return divided((first * second).sum(axis=1), spread)
