"""How well vectors rank: texts against each other, as a teacher finds them alike, or documents for queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compress.tasks.metrics.ndcg import FIRST, ndcg_of

# The columns of examples that somebody judged, beside their text: whether a query or a document, its name, and of a
# query the names of relevant documents and their grades.
ROLE, NAME, RELEVANT, GRADES = "role", "name", "relevant", "grades"
# What a row is; `text` where nobody judged. Of a pair that people rated the one text is `rated`: its mate's name and
# the rating stand where a query has its relevant documents and their grades.
QUERY, DOCUMENT, TEXT, RATED, MATE = "query", "document", "text", "rated", "mate"

Relevance = Mapping[int, float]


@dataclass(frozen=True)
class Pool:
    """What is ranked for what.

    queries, documents: the numbers of the rows that are one. relevant: for each query the gain, above 0, of the
    documents that have one, by their place among `documents`; None where nobody judged, and a teacher's vectors do.
    """

    queries: np.ndarray
    documents: np.ndarray
    relevant: Sequence[Relevance] | None


@dataclass(frozen=True)
class Ranked:
    """Of each query. ndcg: of its first ten. recall: the share of its relevant documents, at most ten of them, among
    its first ten. reciprocal: of the place of its first relevant document."""

    ndcg: np.ndarray
    recall: np.ndarray
    reciprocal: np.ndarray


def unit(vectors: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """(rows, dimensions) in float64, each of length 1; zeros stay."""
    found = np.asarray(vectors, dtype=np.float64)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def nearest_of(vectors: np.ndarray, count: int = FIRST) -> np.ndarray:
    """For each row the numbers of the `count` others (all, where there are fewer) with the largest cosine, ascending:
    (rows, count). vectors: (rows, dimensions)."""
    directions = unit(vectors)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    return np.sort(np.argsort(-cosines, axis=1, kind="stable")[:, : min(count, len(vectors) - 1)], axis=1)


def ranked(pool: Pool, queries: np.ndarray, documents: np.ndarray, teacher: np.ndarray) -> Ranked:
    """How the vectors of `documents` rank for those of `queries`: by their cosine.

    queries, documents: (rows, dimensions), vectors of all rows; the pool says which count. They may be two models'.
    teacher: (rows, dimensions), whose cosines are the truth where nobody judged: a document's gain is by how much it is
    more alike than the pool is on average, and its ten most alike are the relevant ones. A text is not ranked for
    itself.
    """
    return ranked_by(unit(queries)[pool.queries] @ unit(documents)[pool.documents].T, pool, teacher)


def ranked_by(given: np.ndarray, pool: Pool, teacher: np.ndarray) -> Ranked:
    """The same for scores that were made otherwise. given: (queries, documents), the larger the better."""
    truths = None if pool.relevant is not None else unit(teacher)[pool.queries] @ unit(teacher)[pool.documents].T
    found = []
    for place, scores in enumerate(given):
        others = pool.documents != pool.queries[place]
        if truths is None:
            assert pool.relevant is not None
            gains = np.zeros(len(scores))
            gains[list(pool.relevant[place])] = list(pool.relevant[place].values())
            right = gains > 0
        else:
            gains = np.maximum(truths[place] - truths[place][others].mean(), 0.0)
            right = np.zeros(len(scores), dtype=bool)
            right[np.flatnonzero(others)[np.argsort(-truths[place][others], kind="stable")[:FIRST]]] = True
        found.append(_of_query(gains[others], scores[others], right[others]))
    return Ranked(*np.array(found, dtype=np.float64).reshape(-1, 3).T)


def _of_query(gains: np.ndarray, scores: np.ndarray, right: np.ndarray) -> tuple[float, float, float]:
    order = np.argsort(-scores, kind="stable")
    hits = right[order]
    recall = hits[:FIRST].sum() / max(min(FIRST, int(right.sum())), 1)
    reciprocal = 1.0 / (1 + int(hits.argmax())) if hits.any() else 0.0
    return ndcg_of(gains, scores), float(recall), reciprocal
