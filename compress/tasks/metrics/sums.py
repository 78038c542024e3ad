"""What metrics share whose value is a function of the columns' sums."""

from __future__ import annotations

import numpy as np


def sums_without(statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The columns' sums without each group, (groups, columns). statistics: (examples, columns). groups: (examples,),
    numbers from 0, none left out."""
    count = int(groups.max()) + 1
    inside = [np.bincount(groups, weights=column, minlength=count) for column in statistics.T]
    return statistics.sum(axis=0) - np.stack(inside, axis=1)


def divided(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their quotient, and 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator, dtype=float), where=denominator != 0)


def f1(true_positives: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """2 tp / (predicted + actual), the harmonic mean of precision and recall; 0 where there is nothing to find."""
    return divided(2.0 * np.asarray(true_positives, dtype=float), np.asarray(predicted + actual, dtype=float))
