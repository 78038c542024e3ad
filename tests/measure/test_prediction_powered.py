"""Numbers worked out by hand, what a weight of 0 gives, and simulations of what the interval promises."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.measure.estimate import Estimate
from compress.measure.paired import mean_and_error, paired_interval
from compress.measure.prediction_powered import Predictions, powered, worth

DIFFERENCES = np.array([0.0, -1.0, 0.0, 0.0])
PREDICTIONS = Predictions(
    labelled=np.array([0.0, -0.5, 0.0, -0.5]),
    usable=np.ones(4, dtype=bool),
    texts=np.array([0.0, 0.0, 0.0, -0.4]),
    groups=[4, 5, 6, 7],
)


def test_full_weight_by_hand() -> None:
    found, weight = powered(DIFFERENCES, range(4), PREDICTIONS, weight=1.0)
    # Predicted are -0.25 of the labelled examples and -0.1 of the texts: 0.15 are added to -0.25.
    assert weight == 1.0
    assert found.difference == pytest.approx(-0.10)
    assert found.centre == pytest.approx(-0.25 * 4 / 6 + 0.15)
    # Residuals times 6: 0.25, -0.75, 0.25, 0.25 and 1.5 times -0.25, 0.25, -0.25, 0.25. Their squares sum to 0.5625; 1
    # more for the pseudo-examples. Of the texts 0.01, 0.01, 0.01, 0.09, over 4².
    labelled, texts = 4 / 3 * (0.5625 + 1) / 36, 4 / 3 * 0.12 / 16
    assert found.error == pytest.approx(math.sqrt(labelled + texts))
    assert found.freedom == pytest.approx((labelled + texts) ** 2 / (labelled**2 / 3 + texts**2 / 3))


def test_each_group_is_corrected_by_what_the_others_find_best() -> None:
    found, weight = powered(DIFFERENCES, range(4), PREDICTIONS)
    # Products of the two sums: -0.09375, -0.28125, -0.09375, 0.09375; squares of the second 0.140625 each, and 0.36 for
    # the texts. Without its own: 0.28125, 0.09375, 0.28125, 0.46875 over 0.781875.
    weights = np.array([0.28125, 0.09375, 0.28125, 0.46875]) / 0.781875
    assert weight == pytest.approx(weights.mean())
    assert found.difference == pytest.approx(-0.25 + (weights @ np.array([-0.1, 0.4, -0.1, 0.4])) / 4)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1, 1), st.integers(0, 9)), min_size=2, max_size=40
    ),
    st.lists(st.tuples(st.floats(-1, 1), st.integers(5, 14)), min_size=2, max_size=40),
)
def test_no_weight_is_the_classical_estimate_to_the_last_bit(
    labelled: list[tuple[float, float, int]], texts: list[tuple[float, int]]
) -> None:
    differences, groups = np.array([row[0] for row in labelled]), [row[2] for row in labelled]
    predictions = Predictions(
        np.array([row[1] for row in labelled]),
        np.ones(len(labelled), dtype=bool),
        np.array([row[0] for row in texts]),
        [row[1] for row in texts],
    )
    found, weight = powered(differences, groups, predictions, weight=0.0)
    centre, error, freedom = mean_and_error(differences, groups)
    assert found == Estimate(float(differences.mean()), centre, error, 0.0, freedom)
    assert weight == 0.0
    assert found.interval(0.95) == pytest.approx(paired_interval(differences, groups, 0.95), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31))
def test_swapping_the_models_mirrors_the_interval(seed: int) -> None:
    draw = np.random.default_rng(seed)
    differences, groups = draw.choice([-1.0, 0.0, 1.0], size=60), draw.integers(0, 20, 60).tolist()
    predictions = Predictions(
        draw.normal(size=60), draw.random(60) < 0.8, draw.normal(size=90), draw.integers(15, 50, 90).tolist()
    )
    other = dataclasses.replace(predictions, labelled=-predictions.labelled, texts=-predictions.texts)
    (found, weight), (mirrored, same) = powered(differences, groups, predictions), powered(-differences, groups, other)
    low, high = found.interval(0.9)
    assert mirrored.interval(0.9) == pytest.approx((-high, -low))
    assert weight == pytest.approx(same)


def test_predictions_that_say_nothing_have_no_weight() -> None:
    nothing = dataclasses.replace(PREDICTIONS, labelled=np.zeros(4), texts=np.zeros(4))
    found, weight = powered(DIFFERENCES, range(4), nothing)
    assert weight == 0.0
    assert found == powered(DIFFERENCES, range(4), PREDICTIONS, weight=0.0)[0]


def test_examples_that_training_has_seen_take_no_prediction() -> None:
    # With the second out, the mean prediction of the others is -1/6, and only they are moved.
    usable = np.array([True, False, True, True])
    found, weight = powered(DIFFERENCES, range(4), dataclasses.replace(PREDICTIONS, usable=usable), weight=1.0)
    assert weight == pytest.approx(1.0)
    assert found.difference == pytest.approx(-0.25 + 3 / 4 * (-0.1 + 0.5 / 3))
    # Residuals times 6: 0.25, -0.75, 0.25, 0.25, and for the three 1.5 times -1/6, -1/6, 1/3: 0, -0.75, 0, 0.75. Three
    # quarters of the texts' mean count, of whose variance nine sixteenths.
    assert found.error == pytest.approx(math.sqrt(4 / 3 * (1.125 + 1) / 36 + 9 / 16 * 4 / 3 * 0.12 / 16))
    # What is predicted of it has no part in anything.
    other = np.array([0.0, 0.9, 0.0, -0.5])
    same = dataclasses.replace(PREDICTIONS, usable=usable, labelled=other)
    assert powered(DIFFERENCES, range(4), same, weight=1.0)[0] == found


def test_what_is_best_for_the_texts_counts_only_as_often_as_they_do() -> None:
    usable = np.array([True, False, True, True])
    found, weight = powered(DIFFERENCES, range(4), dataclasses.replace(PREDICTIONS, usable=usable))
    # Products of the sums: -0.0625, 0, -0.0625, 0.125; squares of the second 0.0625, 0, 0.0625, 0.25, and of the texts
    # 0.36 * (3/4)². Only the fourth has a weight above 0: 0.125 over 0.125 + 0.2025. Its mean over the three is told.
    assert weight == pytest.approx(0.125 / 0.3275 / 3)
    assert found.difference == pytest.approx(-0.25 + 0.125 / 0.3275 * (-0.1 + 0.5) / 4)


def test_no_weight_is_larger_than_one() -> None:
    # Predictions of a tenth of the difference would be worth ten times as much, and of no text anything is expected.
    small = dataclasses.replace(PREDICTIONS, labelled=np.array([0.0, -0.1, 0.0, 0.0]), texts=np.zeros(4))
    assert powered(DIFFERENCES, range(4), small)[1] == 1.0


def test_a_text_of_a_labelled_group_is_a_part_of_that() -> None:
    found, _ = powered(DIFFERENCES, range(4), dataclasses.replace(PREDICTIONS, groups=[0, 5, 6, 7]), weight=1.0)
    # Residuals as by hand above, -0.125, -0.375, -0.125 and 0.625, the first with its text's 1.5 * 0.1. Left are three.
    labelled = 4 / 3 * (0.025**2 + 0.375**2 + 0.125**2 + 0.625**2 + 1) / 36
    texts = 3 / 2 * (2 * 0.15**2 + 0.45**2) / 36
    assert found.error == pytest.approx(math.sqrt(labelled + texts))
    assert found.freedom == pytest.approx((labelled + texts) ** 2 / (labelled**2 / 3 + texts**2 / 2))


@pytest.mark.parametrize(
    ("groups", "predictions"),
    [
        ([0] * 4, PREDICTIONS),
        (range(4), dataclasses.replace(PREDICTIONS, groups=[9] * 4)),
        (range(4), dataclasses.replace(PREDICTIONS, usable=np.zeros(4, dtype=bool))),
    ],
    ids=["one labelled group", "one group of texts", "no example like the texts"],
)
def test_where_nothing_can_be_compared_the_labels_judge_alone(groups: Sequence[int], predictions: Predictions) -> None:
    for weight in (None, 1.0):
        found, told = powered(DIFFERENCES, groups, predictions, weight=weight)
        assert (found, told) == (
            Estimate(-0.25, *mean_and_error(DIFFERENCES, groups)[:2], 0.0, found.freedom),
            0.0,
        )
        assert found.freedom == max(1, len(set(groups)) - 1)


def test_all_texts_among_the_labelled_add_nothing() -> None:
    found, weight = powered(DIFFERENCES, range(4), dataclasses.replace(PREDICTIONS, groups=[0, 1, 2, 3]))
    assert weight == 0.0
    assert found == powered(DIFFERENCES, range(4), PREDICTIONS, weight=0.0)[0]


def drawn(draw: np.random.Generator, kind: str, count: int, together: int) -> tuple[np.ndarray, np.ndarray]:
    """Differences and predictions: 15% are answered otherwise, and there a chance of 0.05 to 0.75 is what it takes to
    win rather than lose. The mean difference is -0.15 * (1 - 2 * 0.4)."""
    groups = np.arange(count) // together
    chance = np.clip(draw.normal(0.4, 0.15, groups.max() + 1)[groups] + draw.normal(0, 0.1, count), 0.05, 0.75)
    otherwise = draw.random(count) < 0.15
    differences = np.where(otherwise, np.where(draw.random(count) < chance, 1.0, -1.0), 0.0)
    said = {"right": chance, "too sure": (chance > 0.4) * 1.0, "meaningless": draw.random(count)}[kind]
    return differences, np.where(otherwise, 2 * said - 1, 0.0)


@pytest.mark.parametrize("kind", ["right", "too sure", "meaningless"])
@pytest.mark.parametrize("together", [1, 10])
def test_the_lower_bound_holds_as_often_as_it_promises(kind: str, together: int) -> None:
    draw, held = np.random.default_rng(3), 0
    for _ in range(300):
        differences, labelled = drawn(draw, kind, 400, together)
        _, texts = drawn(draw, kind, 2000, together)
        predictions = Predictions(
            labelled, np.ones(400, dtype=bool), texts, (1000 + np.arange(2000) // together).tolist()
        )
        found, _ = powered(differences, (np.arange(400) // together).tolist(), predictions)
        held += found.interval(0.95)[0] <= -0.03
    # 95% of 300 are 285; eleven are three standard errors.
    assert held >= 274


def test_good_predictions_are_worth_labels_and_meaningless_ones_none() -> None:
    draw, gains = np.random.default_rng(5), {}
    for share in (0.0, 0.5, 1.0):
        # Differences that are known from the example to such a share.
        known = draw.normal(size=5500)
        differences = math.sqrt(share) * known[:500] + math.sqrt(1 - share) * draw.normal(size=500)
        predictions = Predictions(known[:500], np.ones(500, dtype=bool), known[500:], range(500, 5500))
        alone, _ = powered(differences, range(500), predictions, weight=0.0)
        found, _ = powered(differences, range(500), predictions)
        gains[share] = worth(500, alone, found, 0.95) / 500
    # A share r of the variance goes, but for that of the mean over ten times as many texts: 1 / (1 - r / 1.1).
    assert gains[0.0] == pytest.approx(1, abs=0.02)
    assert gains[0.5] == pytest.approx(1.83, abs=0.2)
    # The pseudo-examples stay.
    assert 8 < gains[1.0] < 11


def test_what_labels_are_worth_by_hand() -> None:
    # Half as wide an interval is worth four times the labels.
    alone, found = (Estimate(0.0, 0.0, error, 0.0, math.inf) for error in (0.02, 0.01))
    assert worth(500, alone, found, 0.95) == 2000
