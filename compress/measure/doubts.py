"""What speaks against a teacher before anything is compared with it: answers that are worth no more than a guess."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import bdtrc
from scipy.stats import norm

from compress.core.evaluation import Evaluation
from compress.measure.classes import answers_everything
from compress.measure.paired import paired_interval
from compress.tasks.metrics.ndcg import ANY_ORDER, Ndcg
from compress.tasks.metrics.spearman import Spearman

CONFIDENCE = 0.95
# That more than half of a label's examples are answered with another is shown, or not said: a guess comes near it.
CHANCE = 0.01


def doubts(teacher: Evaluation, thing: str) -> tuple[str, ...]:
    """Sentences, none where nothing speaks against it. thing: what one of a class is, such as `entity`.

    A model that keeps the accuracy of a teacher which is no better than one fixed answer has been shown nothing worth
    having, however narrow the interval. Better than chance is at least: better than the most frequent class.
    """
    if teacher.metric == Spearman.name:
        return _no_better_than_any_order(teacher)
    if teacher.metric == Ndcg.name and ANY_ORDER in teacher.figures:
        return _no_better_than_a_random_order(teacher)
    totals = teacher.by_class
    if not any(actual for _, _, actual in totals.values()):
        return ()
    if not answers_everything(teacher):
        found = sum(right for right, _, _ in totals.values())
        count = sum(actual for _, _, actual in totals.values())
        return () if found else (f"the teacher finds none of {count:.0f}: there is no {thing} that a model could lose",)
    swapped = _swapped(teacher)
    if swapped:
        names = " and ".join(f"{label!r} as {answer!r}" for label, answer in swapped.items())
        return (
            f"the teacher answers most of {names}: the names of its labels seem to be swapped. Compare id2label in its "
            "config.json with the data",
        )
    told = _no_better_than_the_majority(teacher)
    return () if told is None else (told,)


def _no_better_than_any_order(teacher: Evaluation) -> tuple[str, ...]:
    """A sentence where the teacher's scores are not shown to have to do with the true ones. Of n independent examples
    in any order the correlation is spread by 1 / sqrt(n - 1) around 0; groups count as one each."""
    count = len(set(teacher.groups))
    if count > 1 and teacher.value > norm.ppf(CONFIDENCE) / math.sqrt(count - 1):
        return ()
    return (
        f"the teacher's scores are not shown to be better than any order: their correlation with the true ones is "
        f"{teacher.value:.3f}. A model that keeps that has kept nothing that was shown to be there",
    )


def _no_better_than_a_random_order(teacher: Evaluation) -> tuple[str, ...]:
    """A sentence where the teacher's order of candidates is not shown to be better than any other, on average over the
    queries."""
    chance = teacher.figures[ANY_ORDER]
    low, _ = paired_interval(np.array(teacher.scores) - chance, teacher.groups, CONFIDENCE)
    if low > 0:
        return ()
    return (
        f"the teacher's order is not shown to be better than any other: its nDCG@10 is {teacher.value:.3f}, and that "
        f"of a random order of the same candidates is {chance:.3f} on average. A model that keeps that has kept "
        "nothing that was shown to be there",
    )


def _swapped(teacher: Evaluation) -> dict[str, str]:
    """Labels whose examples are mostly answered with another label, whose own are mostly answered with a third, and so
    on, back to the first."""
    labels: dict[int, str] = {}
    answers: dict[int, str] = {}
    for name, rows in teacher.counts.items():
        for example, _, predicted, actual in rows:
            if actual == 1:
                labels[example] = name
            if predicted == 1:
                answers[example] = name
    if not len(labels) == len(answers) == len(teacher.groups):
        return {}
    mostly: dict[str, str] = {}
    for name in teacher.counts:
        given = [answers[example] for example, label in labels.items() if label == name]
        often = max(sorted(set(given)), key=given.count, default=name)
        if given and bdtrc(given.count(often) - 1, len(given), 0.5) < CHANCE:
            mostly[name] = often
    return {name: answer for name, answer in mostly.items() if answer != name and _returns(name, mostly)}


def _returns(name: str, mostly: Mapping[str, str]) -> bool:
    """Whether going from each label to what it is mostly answered with leads back to `name`."""
    at = mostly[name]
    for _ in mostly:
        if at == name:
            return True
        if at not in mostly:
            return False
        at = mostly[at]
    return False


def _no_better_than_the_majority(teacher: Evaluation) -> str | None:
    """A sentence where the teacher is not shown to be right more often than one fixed answer would be."""
    totals = teacher.by_class
    majority = max(totals, key=lambda name: totals[name][2])
    size = len(teacher.groups)
    right, things, fixed = np.zeros(size), np.zeros(size, dtype=int), np.zeros(size)
    for name, rows in teacher.counts.items():
        for example, found, _, actual in rows:
            right[example] += found
            things[example] += actual
            fixed[example] += actual if name == majority else 0
    some = things > 0
    differences = np.repeat((right - fixed)[some] / things[some], things[some])
    groups = np.repeat(np.asarray(teacher.groups)[some], things[some]).tolist()
    low, _ = paired_interval(differences, groups, CONFIDENCE)
    if low > 0:
        return None
    share, always = right.sum() / things.sum(), fixed.sum() / things.sum()
    how = "is no better than" if share <= always else "is not shown to be better than"
    return (
        f"the teacher {how} answering {majority!r} every time: {share:.1%} of its answers are right, and {always:.1%} "
        "of such answers would be. A model that keeps that has kept nothing that was shown to be there"
    )
