"""The verdict that labels of the drawn texts give."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compress.core.metric import ACCURACY
from compress.core.whole import write_whole
from compress.deploy.labelling.sheet import VERDICT, Drawn, read_sheet
from compress.measure.drawn_labels import estimate_drawn


@dataclass(frozen=True)
class LabelledVerdict:
    """outcome: `passed` where the whole interval lies above the limit, `failed` where it lies below. difference,
    interval: of accuracy, student less teacher, over all texts. texts, labels: how many there are. better, worse: of
    the labels, how many say that the student is right and the teacher wrong, and the other way round."""

    outcome: Literal["passed", "failed", "inconclusive"]
    difference: float
    interval: tuple[float, float]
    limit: float
    confidence: float
    texts: int
    labels: int
    better: int
    worse: int

    def told(self) -> str:
        """One sentence."""
        exactly = ACCURACY.unit.exactly
        low, high = (exactly(end) for end in self.interval)
        ends = {
            "passed": "proven to lie within the limit",
            "failed": "shown to lie beyond the limit",
            "inconclusive": "the interval includes the limit, so nothing is decided",
        }[self.outcome]
        return (
            f"accuracy {exactly(self.difference)} [{low}, {high}], limit {exactly(self.limit)}, over {self.texts:,} "
            f"texts by {self.labels:,} labels (student right {self.better}, teacher right {self.worse}, neither "
            f"{self.labels - self.better - self.worse}): {ends}"
        )


def judge(folder: Path) -> tuple[LabelledVerdict, dict[str, Any]]:
    """Judge a labelled folder, and write `verdict.json` into it. Returns the verdict, and what that file holds. Raises
    InputError where labels are missing."""
    drawn, labels = read_sheet(folder)
    verdict = verdict_of(drawn, labels)
    told: dict[str, Any] = {
        "run": drawn.run,
        "artifact": drawn.artifact,
        **dataclasses.asdict(verdict),
        "told": verdict.told(),
    }
    write_whole(folder / VERDICT, json.dumps(told, indent=1) + "\n")
    return verdict, told


def right(answers: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Which answers are right, (texts,), 1 or 0."""
    return np.array([answer == label for answer, label in zip(answers, labels, strict=True)], dtype=float)


def sums_of(drawn: Drawn, labels: Sequence[str]) -> list[float]:
    """Of each drawn group, how many more of its texts the student answers rightly. labels: of each drawn text."""
    values = right(drawn.student, labels) - right(drawn.teacher, labels)
    return np.bincount(np.asarray(drawn.groups, dtype=int), weights=values, minlength=len(drawn.sizes)).tolist()


def verdict_of(drawn: Drawn, labels: Sequence[str]) -> LabelledVerdict:
    """labels: of each drawn text, the name of its class."""
    found = estimate_drawn(drawn.pool, sums_of(drawn, labels), drawn.sizes)
    low, high = found.interval(drawn.confidence)
    limit = -drawn.margin
    return LabelledVerdict(
        outcome="passed" if low > limit else "failed" if high < limit else "inconclusive",
        difference=found.difference,
        interval=(low, high),
        limit=limit,
        confidence=drawn.confidence,
        texts=drawn.pool.texts,
        labels=len(labels),
        better=int(right(drawn.student, labels).sum()),
        worse=int(right(drawn.teacher, labels).sum()),
    )
