"""Spearman's rank correlation of the model's scores with the true ones."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.stats import rankdata

from compress.core.metric import CORRELATION, Unit


class Spearman:
    """truth, score: one example's. Only their order among all examples counts; equal ones share the mean rank."""

    name: ClassVar[str] = "spearman"
    title: ClassVar[str] = "Spearman correlation"
    unit: ClassVar[Unit] = CORRELATION
    columns: ClassVar[tuple[str, ...]] = ("truth", "score")
    mean: ClassVar[bool] = False

    def value(self, statistics: np.ndarray) -> float:
        """0 where all truths or all scores are equal."""
        ranks = rankdata(statistics, axis=0)
        away = ranks - ranks.mean(axis=0)
        spread = float(np.sqrt((away**2).sum(axis=0).prod()))
        return float((away[:, 0] * away[:, 1]).sum()) / spread if spread else 0.0

    def without(self, statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """See Metric. Each is computed anew: a rank depends on every other example."""
        return np.array([self.value(statistics[groups != group]) for group in range(int(groups.max()) + 1)])

    def one_lost(self, statistics: np.ndarray) -> float:
        """An example of whose place the model knows nothing: with uniform ranks its squared distance is (n² - 1) / 6 on
        average, and the correlation 1 - 6 sum of squares / (n (n² - 1))."""
        return 1.0 / len(statistics)
