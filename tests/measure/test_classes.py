"""Recall of each class in pairs: by hand, by simulation, and what too few examples cannot tell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from compress.core.evaluation import Evaluation
from compress.core.recall import Recall, collapsed
from compress.measure.classes import answers_everything, only_answer, recalls
from compress.measure.evaluate import evaluation_from_json, evaluation_to_json

NOTHING = Evaluation(
    artifact="a", split="validation", metric="accuracy", statistics=(), value=0.0, figures={}, groups=(),
    latency=None, size=None, proof=None, torch_ratio=None, environment={},
)  # fmt: skip


def answered(labels: Sequence[str], answers: Sequence[str], groups: Sequence[int] | None = None) -> Evaluation:
    """One label and one answer for each example."""
    counts = {
        name: tuple(
            (i, int(label == answer == name), int(answer == name), int(label == name))
            for i, (label, answer) in enumerate(zip(labels, answers, strict=True))
            if name in (label, answer)
        )
        for name in sorted({*labels, *answers})
    }
    return dataclasses.replace(NOTHING, groups=tuple(groups or range(len(labels))), counts=counts)


def judged(teacher: Evaluation, student: Evaluation) -> dict[str, Recall]:
    found = recalls(teacher, student, confidence=0.95, margin=0.2, thing="class")
    return {recall.name: recall for recall in found}


def test_the_interval_of_one_class_by_hand() -> None:
    # Of ten, the teacher finds all and the student nine: the mean is -1/10. With two pseudo-examples of half weight the
    # centre is -1/12 and the variance 10/9 * (0.9 + 1) / 12². Two classes: each bound holds at 1 - 0.05 / 2.
    labels = ["rare"] * 10 + ["often"] * 30
    found = judged(answered(labels, labels), answered(labels, ["often", *labels[1:]]))
    rare = found["class rare"]
    assert (rare.count, rare.teacher, rare.candidate) == (10, 1.0, 0.9)
    half = stats.t.ppf(0.975, 9) * math.sqrt(10 / 9 * (0.9 + 1)) / 12
    assert rare.interval == pytest.approx((-1 / 12 - half, -1 / 12 + half))
    assert not collapsed([*found.values()], 0.2)


def test_a_class_that_is_named_and_not_there_counts_for_nothing() -> None:
    labels = ["rare"] * 10 + ["often"] * 30
    teacher, student = answered(labels, [*labels[:-1], "ghost"]), answered(labels, ["often", *labels[1:]])
    found = judged(teacher, dataclasses.replace(student, counts={**student.counts, "ghost": ()}))
    # As by hand above, at the level of two classes.
    assert sorted(found) == ["class often", "class rare"]
    assert found["class rare"].interval == judged(answered(labels, labels), student)["class rare"].interval
    # Where no class is counted there is none to look at.
    assert recalls(NOTHING, NOTHING, confidence=0.95, margin=0.2, thing="class") == ()


def test_a_rare_class_that_vanishes_is_seen() -> None:
    # Half a percent of positives, of which the teacher finds four of five; 99.5% of the student's answers are right.
    labels = ["pos"] * 20 + ["neg"] * 3980
    teacher = ["neg"] * 4 + ["pos"] * 16 + ["neg"] * 3980
    found = judged(answered(labels, teacher), answered(labels, ["neg"] * 4000))
    assert [recall.name for recall in collapsed([*found.values()], 0.2)] == ["class pos"]
    assert found["class pos"].difference == -0.8


def test_what_could_not_be_shown_is_not_judged() -> None:
    labels = ["pos"] * 4 + ["neg"] * 96
    found = judged(answered(labels, labels), answered(labels, ["neg"] * 100))
    # Four of four lost: -4/6 + 3.18 * 0.19 is -0.05, and one more is enough: -5/7 + 2.78 * 0.16 is -0.27.
    assert found["class pos"].interval is None and found["class neg"].interval is not None
    labels = ["pos", *labels]
    found = judged(answered(labels, labels), answered(labels, ["neg"] * 101))
    assert [recall.name for recall in collapsed([*found.values()], 0.2)] == ["class pos"]
    # Nor can anything be lost where the teacher finds one of ten.
    labels = ["pos"] * 10 + ["neg"] * 90
    found = judged(answered(labels, ["pos"] + ["neg"] * 99), answered(labels, ["neg"] * 100))
    assert found["class pos"].interval is None


def test_examples_of_one_group_count_as_one() -> None:
    labels = ["pos"] * 40 + ["neg"] * 60
    alone = judged(answered(labels, labels), answered(labels, ["neg"] * 100))
    groups = [0] * 40 + list(range(1, 61))
    together = judged(answered(labels, labels, groups), answered(labels, ["neg"] * 100, groups))
    assert alone["class pos"].interval is not None and together["class pos"].interval is None


def test_entities_are_counted_in_their_documents() -> None:
    # Three entities in the first document and one in each of 20 others; the student misses two of the first's,
    # and names another that is none.
    counts = {"PER": ((0, 3, 3, 3), *((i, 1, 1, 1) for i in range(1, 21)))}
    teacher = dataclasses.replace(NOTHING, groups=tuple(range(21)), counts=counts)
    student = dataclasses.replace(teacher, counts={"PER": ((0, 1, 2, 3), *counts["PER"][1:])})
    (found,) = recalls(teacher, student, confidence=0.95, margin=0.2, thing="entity")
    assert (found.name, found.count, found.difference) == ("entity PER", 23, pytest.approx(-2 / 23))
    # A cluster's sum of deviations: -2 + 3 * 2/23 in the first, 2/23 in each of the 20 others.
    squares = (2 - 6 / 23) ** 2 + 20 * (2 / 23) ** 2
    half = stats.t.ppf(0.95, 20) * math.sqrt(21 / 20 * (squares + 1)) / 25
    assert found.interval == pytest.approx((-2 / 25 - half, -2 / 25 + half))


@pytest.mark.parametrize(("classes", "each"), [(2, 12), (2, 60), (200, 12), (200, 40)])
def test_many_classes_do_not_fail_a_good_model_by_chance(classes: int, each: int) -> None:
    """Every class loses exactly what it may: one of them may be shown to lose more in at most 5% of the runs."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each)
    teacher = answered(labels.astype(str), labels.astype(str))
    runs, failed = 60, 0
    for _ in range(runs):
        lost = draw.random(len(labels)) < 0.2
        student = answered(labels.astype(str), np.where(lost, (labels + 1) % classes, labels).astype(str))
        failed += bool(collapsed(recalls(teacher, student, confidence=0.95, margin=0.2, thing="class"), 0.2))
    assert failed <= 0.05 * runs + 2 * math.sqrt(0.05 * 0.95 * runs)


def test_one_answer_for_everything() -> None:
    labels = ["pos"] * 3 + ["neg"] * 5
    assert only_answer(answered(labels, ["neg"] * 8)) == "neg"
    assert only_answer(answered(labels, labels)) is None
    # Another answer, once, is another answer.
    assert only_answer(answered(labels, ["neg"] * 7 + ["pos"])) is None
    # A file with one class only says nothing.
    assert only_answer(answered(["neg"] * 8, ["neg"] * 8)) is None
    # Of two types of entities one is named and the other is not: entities are missed, there is no constant.
    counts = {"LOC": ((0, 0, 0, 2),), "PER": ((0, 1, 1, 1),)}
    entities = dataclasses.replace(NOTHING, groups=(0,), counts=counts)
    assert not answers_everything(entities) and only_answer(entities) is None
    # One entity too many in the first document, and one too few in the second; nothing at all.
    counts = {"PER": ((0, 1, 2, 1), (1, 0, 0, 1))}
    assert not answers_everything(dataclasses.replace(NOTHING, groups=(0, 1), counts=counts))
    assert not answers_everything(NOTHING)


def test_counts_survive_json() -> None:
    evaluation = answered(["a", "b"], ["a", "a"])
    again = evaluation_from_json({**evaluation_to_json(evaluation)})
    assert again == evaluation and again.by_class == {"a": (1.0, 2.0, 1.0), "b": (0.0, 0.0, 1.0)}
