"""The sum of one column over the sum of another: what several metrics are."""

from __future__ import annotations

import numpy as np

from compress.tasks.metrics.sums import divided, sums_without


class Ratio:
    """Metrics whose value is the first column's sum over the second's; see Metric."""

    def value(self, statistics: np.ndarray) -> float:
        """0 where there is nothing."""
        total = statistics.sum(axis=0)
        return float(total[0] / total[1]) if total[1] else 0.0

    def without(self, statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """See Metric."""
        left = sums_without(statistics, groups)
        return divided(left[:, 0], left[:, 1])

    def one_lost(self, statistics: np.ndarray) -> float:
        """An example of average size that gets 1 less of the first column for each of the second."""
        return 1.0 / len(statistics)
