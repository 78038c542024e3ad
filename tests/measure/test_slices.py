"""Losses by class and by length, with numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from compress.core.evaluation import Evaluation
from compress.measure.slices import length_bins, worst_slices
from compress.measure.statistics import estimate, holm
from compress.tasks.metrics.accuracy import Accuracy
from compress.tasks.metrics.token_accuracy import TokenAccuracy


def evaluation(scores: list[float]) -> Evaluation:
    return Evaluation(
        artifact="a",
        split="validation",
        metric="accuracy",
        statistics=tuple((score, 1.0) for score in scores),
        value=sum(scores) / len(scores),
        figures={},
        groups=tuple(range(len(scores))),
        latency=None,
        size=None,
        proof=None,
        torch_ratio=None,
        environment={},
    )


def test_holm_by_hand() -> None:
    # Sorted: 0.01 x 3, then 0.02 x 2 = 0.04, then 0.04 x 1, which is not below the one before.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    # The last may not be below the ones before it.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("losses", [0, 3, 6, 12])
def test_the_chance_agrees_with_the_interval(losses: int) -> None:
    before = np.ones((60, 2))
    after = np.array([(0.0, 1.0)] * losses + [(1.0, 1.0)] * (60 - losses))
    for metric in (Accuracy(), TokenAccuracy()):
        found = estimate(before, after, range(60), metric)
        if losses:
            assert found.interval(1 - found.chance_of_no_loss())[1] == pytest.approx(0.0, abs=1e-6)
        else:
            assert found.chance_of_no_loss() == 0.5


def test_the_class_that_lost_is_shown_and_comes_first() -> None:
    classes = ["sport"] * 100 + ["tech"] * 100 + ["rare"] * 5
    candidate = [1.0] * 100 + [0.0] * 20 + [1.0] * 80 + [0.0] * 5
    found = worst_slices(evaluation([1.0] * 205), evaluation(candidate), Accuracy(), {"class": classes}, 0.95)
    assert [(entry.name, entry.examples, entry.shown) for entry in found] == [
        ("tech", 100, True),
        ("sport", 100, False),
    ]
    assert found[0].difference == pytest.approx(-0.2)
    assert found[0].teacher == 1.0
    assert found[0].interval[0] < -0.2 < found[0].interval[1] < 0
    assert found[1].interval[0] < 0 < found[1].interval[1]


def test_a_slice_has_twenty_examples_or_more() -> None:
    names = ["a"] * 19 + ["b"] * 20 + ["c"] * 21
    found = worst_slices(evaluation([1.0] * 60), evaluation([1.0] * 60), Accuracy(), {"class": names}, 0.95)
    assert [(entry.name, entry.examples) for entry in found] == [("b", 20), ("c", 21)]


def test_a_slice_is_compared_by_its_own_examples_and_groups() -> None:
    # Of the first twenty the teacher answers a quarter rightly, of the others all; the first are of one group.
    teacher = evaluation([1.0] * 5 + [0.0] * 15 + [1.0] * 20)
    student = dataclasses.replace(evaluation([0.0] * 20 + [1.0] * 20), groups=(*[0] * 20, *range(1, 21)))
    first, second = worst_slices(teacher, student, Accuracy(), {"class": ["a"] * 20 + ["b"] * 20}, 0.95)
    assert (first.name, first.teacher, first.difference) == ("a", 0.25, -0.25)
    assert (second.name, second.teacher, second.difference) == ("b", 1.0, 0.0)
    # Student's t on one degree of freedom is 6.314, and how groups differ cannot be seen in one.
    assert (first.interval[1] - first.interval[0]) / 2 == pytest.approx(6.314, abs=1e-3)
    assert (second.interval[1] - second.interval[0]) / 2 < 0.1


def test_what_one_look_would_show_many_looks_do_not() -> None:
    # Five losses among fifty: p = 0.014, shown alone; of eight slices none is.
    losing = [0.0] * 5 + [1.0] * 45
    alone = worst_slices(evaluation([1.0] * 50), evaluation(losing), Accuracy(), {"class": ["a"] * 50}, 0.95)
    names = [str(number) for number in range(8) for _ in range(50)]
    among = worst_slices(evaluation([1.0] * 400), evaluation(losing + [1.0] * 350), Accuracy(), {"class": names}, 0.95)
    assert alone[0].shown
    assert len(among) == 8
    assert among[0].difference == alone[0].difference
    assert not any(entry.shown for entry in among)


def test_lengths_in_four_bins() -> None:
    assert length_bins([1, 2, 3, 4, 5, 6, 7, 8], "tokens") == [
        *["1 to 2 tokens"] * 2,
        *["3 to 4 tokens"] * 2,
        *["5 to 6 tokens"] * 2,
        *["7 to 8 tokens"] * 2,
    ]
    assert length_bins([5, 5, 5], "patches") == ["5 patches"] * 3
