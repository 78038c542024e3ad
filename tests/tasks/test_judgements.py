"""Vectors judged by pairs that people rated, by hand; by ranking: see test_ranking and test_sentence_embedding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from compress.tasks.judgements import Ranking, Similarity, teachers


def _label(role: str, name: str, mate: str | None = None, rating: float = 0.0, vector: Any = (1.0, 0.0)) -> Any:
    relevant, grades = ([mate], [rating]) if mate else ([], [])
    return {"role": role, "name": name, "relevant": relevant, "grades": grades, "vector": list(vector)}


# Three pairs, their first texts before all second ones; the first texts' own vectors are (1, 0).
LABELS = [
    _label("rated", "1a", "1b", 5.0),
    _label("rated", "2a", "2b", 1.0),
    _label("rated", "3a", "3b", 3.0),
    _label("mate", "3b", vector=(0.0, 1.0)),
    _label("mate", "1b", vector=(1.0, 1.0)),
    _label("mate", "2b", vector=(1.0, 0.0)),
]
# Cosines of the pairs: 1 with (3, 4): 0.6; 2 with (-1, 0): -1; 3 with (0, 2): 0. Lengths do not count.
VECTORS = np.array([[2.0, 0], [1, 0], [1, 0], [0, 2], [3, 4], [-1, 0]])


def test_a_pair_is_its_rating_and_its_cosine() -> None:
    np.testing.assert_allclose(Similarity().statistics(LABELS, VECTORS), [[5, 0.6], [1, -1], [3, 0]])


def test_figures_of_pairs() -> None:
    found = Similarity().figures(LABELS, VECTORS, teachers(LABELS), dimensions=[1], stored=["int8", "binary"])
    # Ratings 5, 1, 3 are 2, -2, 0 about their mean; cosines 0.6, -1, 0 times them give 3.2; the squares sum to 8, and
    # to 1.36 - 3 * (0.4 / 3)².
    assert found["pearson_correlation"] == pytest.approx(3.2 / math.sqrt(8 * (1.36 - 0.16 / 3)))
    # First texts with the teacher's second ones: cosines 0.707, 1 and 0 for ratings 5, 1 and 3. Ranks 2, 3, 1 for 3, 1,
    # 2: squared differences 1, 4, 1, and 1 - 6 * 6 / (3 * 8).
    assert found["spearman_in_teachers_index"] == pytest.approx(-0.5)
    # Of the first dimension alone: 1, -1 and, of a vector of zeros, 0: in the order of the ratings.
    assert found["spearman_of_1_dimensions"] == pytest.approx(1.0)
    # 256 steps keep the order.
    assert found["spearman_of_int8_vectors"] == pytest.approx(1.0)
    # Signs of the second texts are (-1, 1), (1, 1) and (-1, -1); with (1, 0) cosines of ratings 3, 5, 1 are -, +, -:
    # two share rank 1.5. About their mean ranks of the ratings are 0, 1, -1, of the cosines -0.5, 1, -0.5, and the
    # correlation is 1.5 / sqrt(2 * 1.5).
    assert found["spearman_of_binary_vectors"] == pytest.approx(1.5 / math.sqrt(3))


def test_documents_are_found_by_their_names_among_those_that_are_shown() -> None:
    query = {**_label("query", "q"), "relevant": ["2", "9"], "grades": [1.0, 1.0]}
    labels = [query, _label("document", "1"), _label("document", "2"), _label("document", "3")]
    # Cosines with the query: 1, 0 and -1; the second document is relevant, and no ninth one is shown.
    found = Ranking().statistics(labels, np.array([[1.0, 0], [2, 0], [0, 1], [-1, 0]]))
    np.testing.assert_allclose(found, [[1 / math.log2(3), 1]])


def test_another_width_has_no_index_in_common() -> None:
    found = Similarity().figures(LABELS, VECTORS[:, :1], teachers(LABELS), dimensions=[], stored=[])
    assert set(found) == {"pearson_correlation"}


def test_each_judgement_has_the_metric_of_its_statistics() -> None:
    assert Similarity().metric.value(Similarity().statistics(LABELS, VECTORS)) == pytest.approx(1.0)
    # Texts at 0, 10, 30, 60 and 100 degrees, which the teacher sees so, too.
    angles = np.radians([0, 10, 30, 60, 100])
    texts = [_label("text", "", vector=(math.cos(angle), math.sin(angle))) for angle in angles]
    found = Ranking().statistics(texts, teachers(texts))
    assert found.shape == (5, 2) and Ranking().metric.value(found) == pytest.approx(1.0)


def test_queries_in_float_among_documents_that_were_kept() -> None:
    # The query (1, 0) finds the second document first, 0.8 against 0.6, and the relevant one second: 1 / log2(3).
    labels = [_label("query", "q", "a", 1.0), _label("document", "a"), _label("document", "b")]
    vectors = np.array([[1.0, 0], [0.6, 0.8], [0.8, 0.6]])
    np.testing.assert_allclose(Ranking().statistics(labels, vectors), [[1 / math.log2(3), 1]])
    # Kept coarsely, both read 0.7, and stand in the order they came in; the query's own row is not looked at.
    kept = np.array([[-9.0, -9], [0.7, 0.7], [0.7, 0.7]])
    np.testing.assert_allclose(Ranking().kept_statistics(labels, vectors, "int8", kept), [[1, 1]])
    # By signs the first document is the query's opposite.
    signs = np.array([[1.0, 1], [-1, -1], [1, -1]])
    np.testing.assert_allclose(Ranking().kept_statistics(labels, vectors, "binary", signs), [[1 / math.log2(3), 1]])


def test_first_texts_in_float_with_second_ones_that_were_kept() -> None:
    kept = np.array([[9.0, 9], [9, 9], [9, 9], [0, 2], [3, -4], [1, 0]])
    found = Similarity().kept_statistics(LABELS, VECTORS, "int8", kept)
    np.testing.assert_allclose(found, [[5, 0.6], [1, 1], [3, 0]])
