"""Pearson's correlation: how near scores come to a straight line of the true ones."""

from __future__ import annotations

import numpy as np


def pearson(truth: np.ndarray, scores: np.ndarray) -> float:
    """-1 to 1; 0 where all truths or all scores are equal: a constant has nothing to do with anything."""
    first, second = truth - truth.mean(), scores - scores.mean()
    spread = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / spread if spread else 0.0
