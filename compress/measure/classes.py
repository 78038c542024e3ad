"""What the answers of each class say: the recall of two models in pairs, and answers that are all the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.core.evaluation import Evaluation, Interval
from compress.core.recall import Recall
from compress.measure.paired import paired_interval


def recalls(
    baseline: Evaluation, candidate: Evaluation, *, confidence: float, margin: float, thing: str
) -> tuple[Recall, ...]:
    """The recall of every class that there is, in pairs. thing: what one of a class is, such as `entity`.

    margin: how much may be lost, 0 or more. Among many classes some lose by chance: each bound holds at a level of
    1 - (1 - confidence) / classes, so that the chance that any of them is shown to lose more than the margin, where
    none does, is at most 1 - confidence, whatever their number (Bonferroni 1936). A class counts as judged where a
    candidate that finds none of it would be shown to have lost more than the margin: with fewer examples, or where the
    teacher itself finds hardly any, nothing could be told, and saying that nothing was seen would mislead.
    """
    tables = {name: (_of_examples(rows, candidate.counts[name])) for name, rows in baseline.counts.items()}
    present = {name: table for name, table in tables.items() if len(table)}
    level = 1 - (1 - confidence) / max(1, len(present))
    groups = np.asarray(candidate.groups)
    return tuple(_recall(f"{thing} {name}", table, groups, level, margin) for name, table in present.items())


def _of_examples(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> np.ndarray:
    """(examples that have some of the class, 4): the example's number, how many of them there are, how many each of the
    two finds."""
    found = {example: right for example, right, _, _ in after}
    rows = [(example, actual, right, found.get(example, 0)) for example, right, _, actual in before if actual]
    return np.array(rows, dtype=int).reshape(-1, 4)


def _recall(name: str, table: np.ndarray, groups: np.ndarray, level: float, margin: float) -> Recall:
    example, actual, before, after = table.T
    total = int(actual.sum())

    def interval(found: np.ndarray) -> Interval:
        # One after the other, each with its example's mean difference: only the sums of groups matter.
        differences = np.repeat((found - before) / actual, actual)
        return paired_interval(differences, np.repeat(groups[example], actual).tolist(), level)

    judged = interval(np.zeros_like(before))[1] < -margin
    return Recall(
        name, total, float(before.sum() / total), float(after.sum() / total), interval(after) if judged else None
    )


def only_answer(evaluation: Evaluation) -> str | None:
    """The class that every example is answered with, where there are examples of several classes; None where there is
    no such class, or examples have other than one answer for each thing that is to be answered."""
    totals = evaluation.by_class
    answered = [name for name, (_, predicted, _) in totals.items() if predicted]
    several = sum(actual > 0 for _, _, actual in totals.values()) > 1
    return answered[0] if len(answered) == 1 and several and answers_everything(evaluation) else None


def answers_everything(evaluation: Evaluation) -> bool:
    """Whether each example has as many answers as it has things to be answered: one label, or one tag for each word."""
    balance = np.zeros(len(evaluation.groups), dtype=int)
    for rows in evaluation.counts.values():
        for example, _, predicted, actual in rows:
            balance[example] += predicted - actual
    return bool(evaluation.counts) and not balance.any()
