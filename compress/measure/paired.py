"""The interval of a mean of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from compress.core.evaluation import Interval


def paired_interval(differences: np.ndarray, groups: Sequence[int], confidence: float) -> Interval:
    """Two-sided interval of the mean paired difference; each end is a one-sided bound at `confidence`.

    differences: (n,). groups: (n,), examples of one group are taken together. The standard error is that of a mean
    over clusters, with two pseudo-examples that differ by +1 and -1 at half weight each. Without them a handful
    of examples that happen to agree would give an interval of width zero, and pass anything. With Student's t on
    (groups - 1) degrees of freedom. Sources: Agresti and Min 2005, Simple improved confidence intervals for comparing
    matched proportions (half a pseudo-example in each cell of the two-by-two table); Cochran 1977, Sampling
    Techniques, chapter 9 (clusters of unequal size).
    """
    centre, error, freedom = mean_and_error(differences, groups)
    half = float(stdtrit(freedom, confidence)) * error
    return centre - half, centre + half


def mean_and_error(differences: np.ndarray, groups: Sequence[int]) -> tuple[float, float, int]:
    """Centre, standard error and degrees of freedom: see `paired_interval`."""
    n = len(differences)
    _, cluster = np.unique(np.asarray(groups), return_inverse=True)
    clusters = int(cluster.max()) + 1
    mean = float(differences.mean())
    # The pseudo-examples pull the centre towards zero by the same small amount on both sides.
    centre = mean * n / (n + 2)
    if clusters == 1:
        # However many examples: how groups differ cannot be seen in one.
        return centre, 1.0, 1
    sums = np.bincount(cluster, weights=differences - mean, minlength=clusters)
    variance = clusters / (clusters - 1) * (float((sums**2).sum()) + 1.0) / (n + 2) ** 2
    return centre, math.sqrt(variance), clusters - 1
