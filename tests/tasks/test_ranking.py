"""Ranking by vectors, with numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compress.tasks.ranking import Pool, ranked, unit

# Cosines with the first: 1, 0.8, 0.6, 0.
FOUR = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])


def test_vectors_get_length_one_and_zeros_stay() -> None:
    np.testing.assert_allclose(unit([np.array([3.0, 4.0]), np.array([0.0, 0.0])]), [[0.6, 0.8], [0.0, 0.0]])


def test_teacher_against_itself_is_perfect() -> None:
    every = np.arange(4)
    found = ranked(Pool(every, every, None), FOUR, FOUR, FOUR)
    np.testing.assert_allclose(found.ndcg, 1.0)
    np.testing.assert_allclose(found.recall, 1.0)


def test_what_the_teacher_finds_alike_is_the_gain() -> None:
    # The first text's others have the cosines 0.8, 0.6 and 0, 0.4667 on average: gains 0.3333, 0.1333 and 0.
    turned = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.9, 0.1]])
    found = ranked(Pool(np.array([0]), np.arange(4), None), turned, turned, FOUR)
    # The model's order is the fourth, the third, the second.
    best = 0.3333333 + 0.1333333 / math.log2(3)
    assert found.ndcg[0] == pytest.approx((0.1333333 / math.log2(3) + 0.3333333 / 2) / best, abs=1e-5)


def test_judged_documents_for_queries() -> None:
    pool = Pool(np.array([0]), np.array([1, 2, 3]), [{1: 1.0, 2: 2.0}])
    found = ranked(pool, FOUR, FOUR, FOUR)
    # Ranked as they stand: the second and the third document are relevant, by 1 and 2.
    best = 2.0 + 1.0 / math.log2(3)
    assert found.ndcg[0] == pytest.approx((1.0 / math.log2(3) + 2.0 / 2) / best)
    assert found.recall[0] == 1.0
    assert found.reciprocal[0] == 0.5


def test_queries_of_one_model_among_documents_of_another() -> None:
    other = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [1.0, 0.1]])
    pool = Pool(np.array([0]), np.array([1, 2, 3]), [{0: 1.0}])
    assert ranked(pool, FOUR, other, FOUR).reciprocal[0] == pytest.approx(1 / 3)
    assert ranked(pool, other, FOUR, FOUR).reciprocal[0] == 1.0


def test_recall_counts_ten_at_most() -> None:
    angles = np.linspace(0, 1, 13)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pool = Pool(np.array([0]), np.arange(1, 13), [dict.fromkeys(range(12), 1.0)])
    assert ranked(pool, vectors, vectors, vectors).recall[0] == 1.0
    far = Pool(np.array([0]), np.arange(1, 13), [dict.fromkeys((10, 11), 1.0)])
    assert ranked(far, vectors, vectors, vectors).recall[0] == 0.0
