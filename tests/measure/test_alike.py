"""Texts that are like the labelled examples, and texts that are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from compress.measure.alike import chance_of_equal, compared, features, unlike


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 30), st.integers(2, 30))
def test_without_groups_it_is_welchs_test(seed: int, count: int, others: int) -> None:
    draw = np.random.default_rng(seed)
    ours, theirs = draw.normal(size=count), draw.normal(0.5, 2, size=others)
    expected = stats.ttest_ind(ours, theirs, equal_var=False).pvalue
    assert chance_of_equal(ours, theirs, range(count), range(count, count + others)) == pytest.approx(expected)


def test_examples_of_one_group_count_as_one() -> None:
    ours, theirs = np.repeat([0.0, 1.0, 2.0, 3.0], 25), np.repeat([2.0, 3.0, 4.0, 5.0], 25)
    together = np.repeat(np.arange(4), 25)
    expected = stats.ttest_ind(np.arange(4), np.arange(2, 6), equal_var=False).pvalue
    assert chance_of_equal(ours, theirs, together, 4 + together) == pytest.approx(expected)
    assert chance_of_equal(ours, theirs, range(100), range(100, 200)) < 1e-10


def test_what_does_not_vary() -> None:
    assert chance_of_equal(np.ones(30), np.ones(40), range(30), range(30, 70)) == 1.0
    assert chance_of_equal(np.ones(30), np.zeros(40), range(30), range(30, 70)) == 0.0
    # How much groups differ cannot be seen in one.
    assert chance_of_equal(np.arange(30.0), np.arange(40.0), [0] * 30, range(30, 70)) == 1.0


def test_the_features_by_hand() -> None:
    # Of the second text the student makes 1, 1, 4: the mean logits are the roots of 0.3, 0.4 and 1.2, but for a factor.
    teacher, student = np.log([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]]), np.log([[3.0, 1.0, 1.0], [1.0, 1.0, 4.0]])
    found = features(teacher, student, [5, 9])
    roots = np.sqrt([0.3, 0.4, 1.2])
    assert {name: values.round(12).tolist() for name, values in found.items()} == {
        "length": [5.0, 9.0],
        "confidence of the teacher": [0.7, 0.4],
        "share answered otherwise by the student": [0.0, 1.0],
        "predicted difference": [0.0, round((roots[2] - roots[1]) / roots.sum(), 12)],
        "share of class 0": [0.7, 0.3],
        "share of class 1": [0.2, 0.4],
        "share of class 2": [0.1, 0.3],
    }


def test_of_two_classes_one_is_compared_and_of_many_the_most_frequent() -> None:
    two = {f"share of class {number}": np.array([0.5]) for number in range(2)}
    assert compared({"length": np.array([1.0]), **two}) == ["length", "share of class 1"]
    many = {f"share of class {number}": np.array([number / 100]) for number in range(15)}
    assert compared(many) == [f"share of class {number}" for number in range(5, 15)]


def test_what_differs_most_is_named() -> None:
    draw = np.random.default_rng(1)
    ours = {"length": draw.normal(20, 5, 300), "confidence of the teacher": draw.uniform(0.5, 1, 300)}
    texts = {"length": draw.normal(30, 5, 900), "confidence of the teacher": draw.uniform(0.45, 0.95, 900)}
    found = unlike(ours, texts, range(300), range(300, 1200))
    assert found is not None and found[0] == "length"
    assert found[1:] == (ours["length"].mean(), texts["length"].mean())


def test_alike_texts_are_refused_as_seldom_as_promised() -> None:
    draw, refused = np.random.default_rng(2), 0
    for _ in range(400):
        ours, texts = ({str(name): draw.normal(size=count) for name in range(6)} for count in (200, 1000))
        refused += unlike(ours, texts, range(200), range(200, 1200)) is not None
    # 5% of 400 are 20; eleven more are two and a half standard errors.
    assert 5 <= refused <= 31
