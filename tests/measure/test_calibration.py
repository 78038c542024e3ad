"""Scales that are known, and predictions that do not see their own labels."""

import math

import numpy as np
import pytest

from compress.measure.calibration import cross_fitted, folds_of, predicted, probabilities, scales_of

LOGITS = np.array([[1.0, 0.0]] * 4)


def test_probabilities_by_hand() -> None:
    # exp(ln 3) = 3 against 1; at half the scale the root of 3; of two models the sum counts.
    logits = np.array([[math.log(3), 0.0], [1000.0, 1000.0]])
    assert probabilities([logits], [1.0]) == pytest.approx(np.array([[0.75, 0.25], [0.5, 0.5]]))
    root = math.sqrt(3)
    assert probabilities([logits], [0.5])[0] == pytest.approx(np.array([root, 1.0]) / (root + 1))
    assert probabilities([logits, -logits], [1.0, 0.5])[0] == pytest.approx(np.array([root, 1.0]) / (root + 1))


def test_one_models_scale_by_hand() -> None:
    # Three of four are right: the probability at the larger logit, 1 / (1 + exp(-scale)), must be 3/4.
    assert scales_of([LOGITS], [0, 0, 0, 1]) == pytest.approx([math.log(3)], rel=1e-3)
    # Logits three times as large need a third of the scale.
    assert scales_of([3 * LOGITS], [0, 0, 0, 1]) == pytest.approx([math.log(3) / 3], rel=1e-3)


def test_what_no_scale_fits_stays_within_bounds() -> None:
    assert 8 < scales_of([LOGITS], [0] * 4)[0] <= 20
    assert scales_of([LOGITS], [1] * 4)[0] == 0.0


def test_a_model_that_knows_nothing_has_no_part() -> None:
    # Where the second model says the opposite, as many labels are the first's as where both agree: 3 of 4.
    first, second = np.array([[1.0, 0.0]] * 8), np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4)
    assert scales_of([first, second], [0, 0, 0, 1] * 2) == pytest.approx([math.log(3), 0.0], abs=1e-3)


def test_predicted_differences_by_hand() -> None:
    chances = np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]])
    found = predicted(chances, np.array([0, 0]), np.array([2, 0]))
    assert found == pytest.approx(np.array([0.2 - 0.5, 0.0]))


def test_groups_stay_whole_in_parts() -> None:
    parts = folds_of([3, 3, 8, 8, 1, 9, 9, 4, 7, 7])
    # In ascending order they are 1, 3, 4, 7, 8, 9.
    assert parts.tolist() == [1, 1, 4, 4, 0, 0, 0, 2, 3, 3]
    assert folds_of([5, 6, 6]).tolist() == [0, 1, 1]


def test_a_part_takes_the_scales_of_the_others() -> None:
    # Two parts: of the first 3 of 4 are as the teacher says, of the second 9 of 10. Each is told by the other's share,
    # and the student, whose logits are all but equal, has no part in it.
    teacher, student = np.array([[1.0, 0.0]] * 14), np.array([[0.0, 1e-9]] * 14)
    labels, groups = [0, 0, 0, 1] + [0] * 9 + [1], [0] * 4 + [1] * 10
    found, texts, scales = cross_fitted([teacher, student], [teacher[:1], student[:1]], labels, groups)
    assert found == pytest.approx(np.array([0.1 - 0.9] * 4 + [0.25 - 0.75] * 10), abs=1e-3)
    # The mean of both, by how many examples each has.
    assert texts == pytest.approx(np.array([4 / 14 * -0.8 + 10 / 14 * -0.5]), abs=1e-3)
    assert scales[0] == pytest.approx((math.log(3) + math.log(9)) / 2, rel=1e-3)
