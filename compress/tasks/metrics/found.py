"""What metrics share that count what is found of what there is to find: F1 of the sums over all examples."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from compress.tasks.metrics.sums import f1, sums_without


class FoundF1:
    """true_positives: of the example that were found. predicted: that the model names. actual: that there are. See
    Metric."""

    columns: ClassVar[tuple[str, ...]] = ("true_positives", "predicted", "actual")
    proportion: ClassVar[bool] = False

    def value(self, statistics: np.ndarray) -> float:
        """0 where there is nothing to find and nothing is named."""
        return float(f1(*statistics.sum(axis=0)))

    def without(self, statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """See Metric."""
        return f1(*sums_without(statistics, groups).T)

    def one_lost(self, statistics: np.ndarray) -> float:
        """One thing more: not found against found."""
        true_positives, predicted, actual = statistics.sum(axis=0)
        found = f1(true_positives + 1, predicted + 1, actual + 1)
        return float(found - f1(true_positives, predicted, actual + 1))
