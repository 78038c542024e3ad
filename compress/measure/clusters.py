"""Examples that belong together: their sums, and the variance of what these add up to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def numbered_together(groups: Sequence[int], others: Sequence[int]) -> tuple[np.ndarray, np.ndarray, int]:
    """The groups of two sets of examples as numbers from 0, equal where the groups are, and how many there are."""
    found, numbers = np.unique(np.concatenate([np.asarray(groups), np.asarray(others)]), return_inverse=True)
    return numbers[: len(groups)], numbers[len(groups) :], len(found)


def variance_of_sums(sums: np.ndarray, more: float = 0.0) -> float:
    """The variance of the sum of independent parts, from the parts themselves, whose mean is about 0: clusters /
    (clusters - 1) times the sum of squares. more: is added to that sum; 0 parts vary by nothing. Source: Cochran 1977,
    Sampling Techniques, chapter 9."""
    if len(sums) < 2:
        return 0.0
    return len(sums) / (len(sums) - 1) * (float((sums**2).sum()) + more)


def satterthwaite(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """The degrees of freedom of a sum of independent estimates: (sum of variances)² / sum of (variance² / freedom).
    Parts that vary by nothing do not count. Source: Satterthwaite 1946, An approximate distribution of estimates of
    variance components."""
    parts = [(variance, freedom) for variance, freedom in zip(variances, freedoms, strict=True) if variance > 0]
    if len(parts) == 1:
        return parts[0][1]
    return sum(variance for variance, _ in parts) ** 2 / sum(variance**2 / freedom for variance, freedom in parts)
