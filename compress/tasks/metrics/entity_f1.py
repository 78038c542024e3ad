"""F1 of entities: right only where type, first and last token all are. Micro-averaged, as seqeval computes it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import ClassVar

import numpy as np

from compress.core.metric import SHARE, Unit
from compress.tasks.metrics.entities import Entity
from compress.tasks.metrics.sums import f1, sums_without


class EntityF1:
    """true_positives: entities of the example that were found. predicted: that the model names. actual: that there
    are."""

    name: ClassVar[str] = "entity_f1"
    title: ClassVar[str] = "entity F1"
    unit: ClassVar[Unit] = SHARE
    columns: ClassVar[tuple[str, ...]] = ("true_positives", "predicted", "actual")
    proportion: ClassVar[bool] = False
    thing: ClassVar[str] = "entity"

    def value(self, statistics: np.ndarray) -> float:
        """0 where there is no entity and none is named."""
        return float(f1(*statistics.sum(axis=0)))

    def without(self, statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """See Metric."""
        return f1(*sums_without(statistics, groups).T)

    def one_lost(self, statistics: np.ndarray) -> float:
        """One entity more: not found against found."""
        true_positives, predicted, actual = statistics.sum(axis=0)
        found = f1(true_positives + 1, predicted + 1, actual + 1)
        return float(found - f1(true_positives, predicted, actual + 1))


def count(truth: Collection[Entity], answer: Collection[Entity]) -> tuple[int, int, int]:
    """The statistics of one example: see EntityF1."""
    return len(set(truth) & set(answer)), len(answer), len(truth)


def count_by_type(
    truths: Collection[Collection[Entity]], answers: Collection[Collection[Entity]]
) -> dict[str, list[tuple[int, int, int, int]]]:
    """For each type, of every example that has to do with it: its number, true positives, predicted and actual; types
    in alphabetical order."""
    counts: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
    for example, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
        columns = [Counter(kind for kind, _, _ in part) for part in (set(truth) & set(answer), answer, truth)]
        for kind in columns[1] | columns[2]:
            counts[kind].append((example, columns[0][kind], columns[1][kind], columns[2][kind]))
    return dict(sorted(counts.items()))
