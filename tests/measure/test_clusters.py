"""Groups of examples, and the variance of what they add up to: by hand."""

from __future__ import annotations

import numpy as np
import pytest

from compress.measure.clusters import numbered_together, satterthwaite, variance_of_sums


def test_groups_of_two_sets_have_the_same_numbers_where_they_are_the_same() -> None:
    first, second, count = numbered_together([70, 3, 70], [3, 900])
    assert (first.tolist(), second.tolist(), count) == ([1, 0, 1], [0, 2], 3)


def test_the_variance_of_a_sum_of_parts() -> None:
    # 3/2 * (1 + 4 + 9), and with one more 3/2 * 15.
    assert variance_of_sums(np.array([1.0, 2.0, -3.0])) == pytest.approx(21)
    assert variance_of_sums(np.array([1.0, 2.0, -3.0]), 1.0) == pytest.approx(22.5)
    # How parts differ cannot be seen in one, nor in none.
    assert variance_of_sums(np.array([5.0]), 1.0) == 0.0 == variance_of_sums(np.zeros(0), 1.0)


def test_the_freedom_of_a_sum_of_two_estimates() -> None:
    # (3 + 1)² / (9 / 9 + 1 / 1): nearer to the nine of the larger one where that makes up more of it.
    assert satterthwaite([3.0, 1.0], [9.0, 1.0]) == pytest.approx(8)
    # One that varies by nothing does not count, and a single one has its own, to the last bit: 0.1² / (0.1² / 15) is
    # 15.000000000000002.
    assert satterthwaite([0.0, 0.1], [1.0, 15.0]) == 15.0 == satterthwaite([0.1], [15.0])
