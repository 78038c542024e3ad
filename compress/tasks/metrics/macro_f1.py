"""The mean over classes of each one's F1: a rare class counts as much as a frequent one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from compress.core.metric import SHARE, Unit
from compress.tasks.metrics.sums import divided, f1


class MacroF1:
    """label, predicted: the classes' numbers, from 0. Classes that are neither among labels nor predictions do not
    count."""

    name: ClassVar[str] = "macro_f1"
    title: ClassVar[str] = "macro F1"
    unit: ClassVar[Unit] = SHARE
    columns: ClassVar[tuple[str, ...]] = ("label", "predicted")
    proportion: ClassVar[bool] = False
    thing: ClassVar[str] = "class"

    def value(self, statistics: np.ndarray) -> float:
        """See Metric."""
        return float(_mean(*_counts(statistics, np.zeros(len(statistics), dtype=int), 1))[0])

    def without(self, statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """See Metric."""
        counts = _counts(statistics, groups, int(groups.max()) + 1)
        return _mean(*(part.sum(axis=0) - part for part in counts))

    def one_lost(self, statistics: np.ndarray) -> float:
        """One example more of each class that has any: not recognized against recognized."""
        right, predicted, actual = (part[0] for part in _counts(statistics, np.zeros(len(statistics), dtype=int), 1))
        seen = actual > 0
        lost = (f1(right + 1, predicted + 1, actual + 1) - f1(right, predicted, actual + 1))[seen]
        return float(np.sqrt((lost**2).sum()) / max(int((predicted + actual > 0).sum()), 1))


def _counts(statistics: np.ndarray, groups: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, predicted and actual of each group and class, (count, classes) each."""
    labels, answers = statistics.astype(int).T
    classes = int(statistics.max()) + 1

    def table(of: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        places = groups[chosen] * classes + of[chosen]
        return np.bincount(places, minlength=count * classes).reshape(count, classes).astype(float)

    every = np.ones(len(labels), dtype=bool)
    return table(labels, labels == answers), table(answers, every), table(labels, every)


def _mean(right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """(count,). The arguments are of shape (count, classes)."""
    return divided(f1(right, predicted, actual).sum(axis=1), (predicted + actual > 0).sum(axis=1).astype(float))
