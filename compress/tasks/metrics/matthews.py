"""Matthews' correlation of labels and answers: 1 where all agree, 0 where they have nothing to do with each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def matthews(labels: Sequence[int], answers: Sequence[int]) -> float:
    """0 where all labels, or all answers, are the same: a constant has nothing to do with anything. (torchmetrics gives
    such answers small numbers that depend on how many there are.) Source: Gorodkin 2004, Comparing two K-category
    assignments by a K-category correlation coefficient."""
    count = len(labels)
    true = np.bincount(labels).astype(float)
    given = np.bincount(answers, minlength=len(true)).astype(float)
    true = np.pad(true, (0, len(given) - len(true)))
    right = float(sum(label == answer for label, answer in zip(labels, answers, strict=True)))
    spread = (count**2 - float(given @ given)) * (count**2 - float(true @ true))
    return (right * count - float(true @ given)) / math.sqrt(spread) if spread else 0.0
