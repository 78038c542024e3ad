"""Distances of scores query by query, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from compress.nn.ops.ranking import margin_distance, ranking_divergence

# Rows 0, 1 and 3 are of one query, 2 and 4 of another, 5 alone.
QUERIES = tensor([7, 7, 8, 7, 8, 9])
SAME = QUERIES[:, None] == QUERIES[None, :]


def test_differences_between_passages_of_one_query() -> None:
    found, expected = tensor([1.0, 2.0, 5.0, 3.0, 5.0, 9.0]), tensor([0.0, 1.0, 5.0, 5.0, 2.0, 0.0])
    # Errors 1, 1, 0, -2, 3, 9. Pairs: (1-1)², (1+2)², (1+2)² of the first query, (0-3)² of the second: 27 / 4.
    assert float(margin_distance(found, expected, SAME)) == pytest.approx(27 / 4)
    assert float(margin_distance(found[5:], expected[5:], SAME[5:, 5:])) == 0.0
    # What is added to all scores of a query changes nothing.
    moved = torch.where(QUERIES == 8, found + 10, found)
    assert float(margin_distance(moved, expected, SAME)) == pytest.approx(27 / 4)


def test_the_divergence_of_each_query_counts_once() -> None:
    expected = tensor([math.log(2), 0.0, 0.0, 0.0, 0.0, 5.0])
    found = tensor([0.0, 0.0, 0.0, 0.0, math.log(3), 1.0])
    # First query: (1/2, 1/4, 1/4) against thirds; second: halves against (1/4, 3/4); the third has nothing to rank.
    first = 0.5 * math.log(1.5) + 2 * 0.25 * math.log(0.75)
    second = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert float(ranking_divergence(found, expected, SAME)) == pytest.approx((first + second) / 2)
    assert float(ranking_divergence(found, found, SAME)) == pytest.approx(0.0, abs=1e-6)
    assert float(ranking_divergence(found[5:], expected[5:], SAME[5:, 5:])) == 0.0
