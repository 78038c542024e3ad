"""Teachers that are worth no more than a guess, and those that are."""

from __future__ import annotations

import dataclasses
import random

import pytest

from compress.core.evaluation import Evaluation
from compress.measure.doubts import doubts

NOTHING = Evaluation(
    artifact="a", split="validation", metric="accuracy", statistics=(), value=0.0, figures={}, groups=(),
    latency=None, size=None, proof=None, torch_ratio=None, environment={},
)  # fmt: skip


def answered(labels: list[str], answers: list[str]) -> Evaluation:
    counts = {
        name: tuple(
            (i, int(label == answer == name), int(answer == name), int(label == name))
            for i, (label, answer) in enumerate(zip(labels, answers, strict=True))
            if name in (label, answer)
        )
        for name in sorted({*labels, *answers})
    }
    return dataclasses.replace(NOTHING, groups=tuple(range(len(labels))), counts=counts)


def test_a_good_teacher() -> None:
    labels = ["pos", "neg"] * 50
    assert doubts(answered(labels, [*labels[:90], *["pos"] * 10]), "class") == ()
    # 16 of 20 in 4000 are found, and nothing else is taken for one: better than always answering neg.
    rare = ["pos"] * 20 + ["neg"] * 3980
    assert doubts(answered(rare, ["neg"] * 4 + rare[4:]), "class") == ()


def test_the_majority_is_as_good() -> None:
    labels = ["pos"] * 20 + ["neg"] * 80
    (told,) = doubts(answered(labels, ["neg"] * 100), "class")
    assert told.startswith("the teacher is no better than answering 'neg' every time: 80.0% of its answers are right")
    # Ten of each kind are answered otherwise: as many right.
    (told,) = doubts(answered(labels, ["pos"] * 10 + ["neg"] * 80 + ["pos"] * 10), "class")
    assert "no better than answering 'neg' every time: 80.0%" in told


@pytest.mark.parametrize("classes", [2, 5])
def test_a_guess(classes: int) -> None:
    draw = random.Random(1)
    labels = [str(i % classes) for i in range(400)]
    (told,) = doubts(answered(labels, [str(draw.randrange(classes)) for _ in labels]), "class")
    assert "every time" in told


def test_too_few_examples_show_nothing() -> None:
    labels = ["pos", "neg", "pos", "neg"]
    (told,) = doubts(answered(labels, ["pos", "neg", "pos", "pos"]), "class")
    assert "is not shown to be better than answering 'neg' every time: 75.0%" in told


def test_swapped_names() -> None:
    labels = ["pos", "neg"] * 20
    answers = ["neg", "pos"] * 18 + labels[36:]
    (told,) = doubts(answered(labels, answers), "class")
    assert "most of 'neg' as 'pos' and 'pos' as 'neg': the names of its labels seem to be swapped" in told
    # Three of four go round; accuracy alone would look better than the majority.
    other = ["a"] * 10 + ["b"] * 10 + ["c"] * 10 + ["d"] * 70
    turned = ["b"] * 10 + ["c"] * 10 + ["a"] * 10 + ["d"] * 70
    (told,) = doubts(answered(other, turned), "class")
    assert "'a' as 'b' and 'b' as 'c' and 'c' as 'a'" in told


def test_classes_that_a_teacher_takes_for_a_frequent_one_are_not_swapped() -> None:
    labels = ["a"] * 10 + ["b"] * 40 + ["c"] * 40
    assert doubts(answered(labels, ["b"] * 10 + labels[10:]), "class") == ()


def test_entities() -> None:
    some = dataclasses.replace(NOTHING, groups=(0, 1), counts={"PER": ((0, 1, 1, 2), (1, 0, 1, 1))})
    assert doubts(some, "entity") == ()
    none = dataclasses.replace(NOTHING, groups=(0, 1), counts={"PER": ((0, 0, 1, 2), (1, 0, 0, 1))})
    assert doubts(none, "entity") == ("the teacher finds none of 3: there is no entity that a model could lose",)


def test_nothing_is_counted() -> None:
    assert doubts(NOTHING, "query") == ()
    assert doubts(dataclasses.replace(NOTHING, groups=(0,), counts={"PER": ()}), "entity") == ()


@pytest.mark.parametrize(("groups", "doubted"), [(20, True), (100, False)])
def test_scores_that_have_nothing_to_do_with_the_true_ones(groups: int, doubted: bool) -> None:
    # 1.645 / sqrt(19) is 0.377 and 1.645 / sqrt(99) 0.165; every group has three examples.
    numbers = tuple(number % groups for number in range(3 * groups))
    scores = dataclasses.replace(NOTHING, metric="spearman", value=0.3, groups=numbers)
    assert bool(doubts(scores, "example")) is doubted
    assert all("not shown to be better than any order" in told for told in doubts(scores, "example"))


def test_an_order_of_candidates_that_is_worth_no_more_than_any() -> None:
    def ordered(*ndcg: float) -> Evaluation:
        return dataclasses.replace(
            NOTHING, metric="ndcg_at_10", statistics=tuple((one, 1.0) for one in ndcg), value=sum(ndcg) / len(ndcg),
            groups=tuple(range(len(ndcg))), figures={"ndcg_of_any_order": 0.5},
        )  # fmt: skip

    assert doubts(ordered(*[1.0, 0.6] * 30), "query") == ()
    (told,) = doubts(ordered(*[0.9, 0.1] * 30), "query")
    assert "its nDCG@10 is 0.500, and that of a random order of the same candidates is 0.500 on average" in told
    # A vector's task has no candidates, and no such figure.
    assert doubts(dataclasses.replace(ordered(0.1, 0.1), figures={}), "query") == ()
