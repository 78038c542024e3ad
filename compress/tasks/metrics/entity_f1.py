"""F1 of entities: right only where type, first and last token all are. Micro-averaged, as seqeval computes it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import ClassVar

from compress.core.metric import SHARE, Unit
from compress.tasks.metrics.entities import Entity
from compress.tasks.metrics.found import FoundF1


class EntityF1(FoundF1):
    """Every entity of an example is one thing to find."""

    name: ClassVar[str] = "entity_f1"
    title: ClassVar[str] = "entity F1"
    unit: ClassVar[Unit] = SHARE
    thing: ClassVar[str] = "entity"


def count(truth: Collection[Entity], answer: Collection[Entity]) -> tuple[int, int, int]:
    """The statistics of one example: see FoundF1."""
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
