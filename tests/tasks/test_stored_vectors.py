"""Vectors in fewer bytes: what is lost, and what bits find, by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compress.core.kept_vectors import BINARY, INT8
from compress.tasks.ranking import unit
from compress.tasks.stored_vectors import (
    CANDIDATES,
    bits_of,
    in_bits,
    in_int8,
    int8_of,
    kept_scores,
    ranges_of,
    read_bits,
    read_int8,
    scores_of,
)

VECTORS = arrays(np.float64, (7, 5), elements=st.floats(-1, 1, width=32))


@given(VECTORS)
def test_int8_is_off_by_half_a_step_at_most(vectors: np.ndarray) -> None:
    directions = unit(vectors)
    step = np.ptp(directions, axis=0) / 255
    assert (np.abs(in_int8(vectors) - directions) <= step / 2 + 1e-12).all()


@given(VECTORS)
def test_int8_takes_at_most_256_values_in_a_dimension_and_keeps_both_ends(vectors: np.ndarray) -> None:
    kept, directions = in_int8(vectors), unit(vectors)
    np.testing.assert_allclose(kept.min(axis=0), directions.min(axis=0), atol=1e-12)
    np.testing.assert_allclose(kept.max(axis=0), directions.max(axis=0), atol=1e-12)


def test_steps_by_hand() -> None:
    # Of length 1 already; the first dimension goes from 0 to 1, so a step is 1/255: 0.6 is 153 of them exactly.
    np.testing.assert_allclose(in_int8(np.array([[1.0, 0], [0, 1], [0.6, 0.8]])), [[1, 0], [0, 1], [0.6, 0.8]])


def test_a_bit_is_a_sign() -> None:
    assert in_bits(np.array([[0.2, -3.0, 0.0]])).tolist() == [[1.0, -1.0, -1.0]]


def test_bits_find_candidates_and_the_float_query_ranks_them() -> None:
    # One wanted, so four candidates of six. Signs that a document shares with the query (1, 1, 1, 1): 4, 3, 3, 2, 1, 0.
    documents = np.array(
        [[1, 1, 1, 1], [1, 1, 1, -1], [-1, 1, 1, 1], [1, 1, -1, -1], [-1, -1, 1, -1], [-1, -1, -1, -1]], dtype=float
    )
    query = np.array([[0.1, 0.1, 0.1, 5.0]])
    assert CANDIDATES == 4
    scores = scores_of(BINARY, query, documents, 1)[0]
    # The query's weight is on the last dimension: of the candidates, documents 0 and 2 have it.
    assert np.argsort(-scores, kind="stable").tolist() == [0, 2, 1, 3, 4, 5]
    assert scores[4] < -1 and scores[5] < scores[4]
    few = scores_of(BINARY, query, documents[:4], 1)[0]
    np.testing.assert_allclose(few, unit(query)[0] @ unit(documents[:4]).T)


def test_int8_scores_are_near_those_of_float() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 32))
    np.testing.assert_allclose(scores_of(INT8, vectors, vectors, 10), unit(vectors) @ unit(vectors).T, atol=5e-3)


def test_int8_reads_as_the_middle_of_its_step() -> None:
    # Steps of 0.01, from 0: 100 of them and a half. A dimension of one value stays that.
    ranges = np.array([[0, 0.5], [2.55, 0.5]], dtype=np.float32)
    np.testing.assert_allclose(read_int8(np.array([[-28, -128]], dtype=np.int8), ranges), [[1.005, 0.5]], rtol=1e-6)


@given(arrays(np.float64, (7, 5), elements=st.floats(-1, 1, width=32)))
def test_what_is_kept_in_int8_reads_within_half_a_step(vectors: np.ndarray) -> None:
    directions, ranges = unit(vectors).astype(np.float32), ranges_of(vectors)
    away = np.abs(read_int8(int8_of(directions, ranges), ranges) - directions)
    assert (away <= (ranges[1] - ranges[0]) / 255 * 0.51 + 1e-6).all()


@given(st.integers(1, 20))
def test_bits_read_as_signs(dimensions: int) -> None:
    vectors = np.random.default_rng(dimensions).normal(size=(4, dimensions))
    np.testing.assert_array_equal(read_bits(bits_of(vectors), dimensions), in_bits(vectors))


def test_int8_is_multiplied_as_it_reads() -> None:
    # A kept document of length 2 is worth twice: an index of integers divides by no length.
    kept = np.array([[2.0, 0.0], [0.6, 0.8]])
    np.testing.assert_allclose(kept_scores(INT8, np.array([[3.0, 4.0]]), kept, 1), [[1.2, 1.0]])
