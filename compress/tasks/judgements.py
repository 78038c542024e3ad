"""How vectors are judged: by what is found with them, or by how alike they make pairs of texts that people rated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from compress.core.metric import Metric
from compress.tasks.metrics.ndcg import FIRST, Ndcg
from compress.tasks.metrics.pearson import pearson
from compress.tasks.metrics.spearman import Spearman
from compress.tasks.ranking import (
    DOCUMENT,
    GRADES,
    MATE,
    NAME,
    QUERY,
    RATED,
    RELEVANT,
    ROLE,
    TEXT,
    Pool,
    ranked,
    ranked_by,
    unit,
)
from compress.tasks.stored_vectors import KEPT, kept_scores, scores_of

# Of a row: the teacher's `vector`, and the columns of judgements.
Label = Mapping[str, Any]
# Those that are judged stand first; the others are there to be found, or to be compared with.
ORDER: Mapping[str, int] = {QUERY: 0, RATED: 0, TEXT: 1, DOCUMENT: 2, MATE: 2}
JUDGED_BY_THEMSELVES = frozenset({QUERY, RATED, TEXT})


class Judgement(Protocol):
    """labels: a row's each. vectors: (rows, dimensions), a model's of the same rows."""

    @property
    def metric(self) -> Metric:
        """What the statistics are judged by."""
        ...

    def statistics(self, labels: Sequence[Label], vectors: np.ndarray) -> np.ndarray:
        """(judged rows, columns), as the metric reads them."""
        ...

    def kept_statistics(self, labels: Sequence[Label], vectors: np.ndarray, form: str, kept: np.ndarray) -> np.ndarray:
        """The same where what is found, or compared with, was kept in a form. kept: (rows, dimensions), as they read
        then."""
        ...

    def figures(
        self,
        labels: Sequence[Label],
        vectors: np.ndarray,
        teacher: np.ndarray,
        *,
        dimensions: Sequence[int],
        stored: Sequence[str],
    ) -> dict[str, float]:
        """What stands beside the metric. teacher: its vectors of the same rows. dimensions: numbers of first
        dimensions to be judged alone. stored: forms in which an index may keep its vectors, to be judged too."""
        ...


class Ranking:
    """nDCG of the first ten, by query: of documents that somebody judged, or else of what the teacher finds alike."""

    metric = Ndcg()

    def statistics(self, labels: Sequence[Label], vectors: np.ndarray) -> np.ndarray:
        """nDCG of the first ten of each query, or text; and 1."""
        found = ranked(_pool(labels), vectors, vectors, teachers(labels)).ndcg
        return np.stack([found, np.ones(len(found))], axis=1)

    def kept_statistics(self, labels: Sequence[Label], vectors: np.ndarray, form: str, kept: np.ndarray) -> np.ndarray:
        """The same, of queries in float among documents that were kept."""
        pool = _pool(labels)
        # A text of a pool without queries is among its own documents, and is left out later.
        scores = kept_scores(form, vectors[pool.queries], kept[pool.documents], FIRST + 1)
        found = ranked_by(scores, pool, teachers(labels)).ndcg
        return np.stack([found, np.ones(len(found))], axis=1)

    def figures(
        self,
        labels: Sequence[Label],
        vectors: np.ndarray,
        teacher: np.ndarray,
        *,
        dimensions: Sequence[int],
        stored: Sequence[str],
    ) -> dict[str, float]:
        """Recall of the first ten (where nobody judged: how many of the teacher's ten nearest they are), and with
        judgements the mean reciprocal rank; nDCG of this model's queries among the *teacher's* documents, which decides
        for an index that is there already; of the first dimensions alone; and of documents kept in fewer bytes."""
        pool = _pool(labels)
        alone = ranked(pool, vectors, vectors, teacher)
        found = {f"recall_at_{FIRST}": float(alone.recall.mean())}
        if pool.relevant is not None:
            found["mean_reciprocal_rank"] = float(alone.reciprocal.mean())
        if vectors.shape[1] == teacher.shape[1]:
            found["ndcg_in_teachers_index"] = float(ranked(pool, vectors, teacher, teacher).ndcg.mean())
        for width in dimensions:
            short = vectors[:, :width]
            found[f"ndcg_of_{width}_dimensions"] = float(ranked(pool, short, short, teacher).ndcg.mean())
        for form in stored:
            # A text of a pool without queries is among its own documents, and is left out later.
            scores = scores_of(form, vectors[pool.queries], vectors[pool.documents], FIRST + 1)
            found[f"ndcg_of_{form}_vectors"] = float(ranked_by(scores, pool, teacher).ndcg.mean())
        return found


class Similarity:
    """Spearman's correlation of the cosines of pairs with what people said of how alike they are."""

    metric = Spearman()

    def statistics(self, labels: Sequence[Label], vectors: np.ndarray) -> np.ndarray:
        """The rating of each pair, and its cosine."""
        return _rated(labels, vectors, vectors)

    def kept_statistics(self, labels: Sequence[Label], vectors: np.ndarray, form: str, kept: np.ndarray) -> np.ndarray:
        """The same, of first texts in float with second ones that were kept."""
        return _rated(labels, vectors, kept)

    def figures(
        self,
        labels: Sequence[Label],
        vectors: np.ndarray,
        teacher: np.ndarray,
        *,
        dimensions: Sequence[int],
        stored: Sequence[str],
    ) -> dict[str, float]:
        """Pearson's correlation; Spearman's of this model's first texts with the *teacher's* second ones, which are an
        index that is there already; of the first dimensions alone; and where second texts are kept in fewer bytes."""
        found = {"pearson_correlation": pearson(*_rated(labels, vectors, vectors).T)}
        if vectors.shape[1] == teacher.shape[1]:
            found["spearman_in_teachers_index"] = self.metric.value(_rated(labels, vectors, teacher))
        for width in dimensions:
            short = vectors[:, :width]
            found[f"spearman_of_{width}_dimensions"] = self.metric.value(_rated(labels, short, short))
        for form in stored:
            found[f"spearman_of_{form}_vectors"] = self.metric.value(_rated(labels, vectors, KEPT[form](vectors)))
        return found


def teachers(labels: Sequence[Label]) -> np.ndarray:
    """The teacher's vectors, (rows, dimensions)."""
    return np.array([label["vector"] for label in labels], dtype=np.float32)


def _rated(labels: Sequence[Label], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(pairs, 2): the rating, and the cosine of the one text's vector in `first` and the other's in `second`."""
    place = {label[NAME]: row for row, label in enumerate(labels)}
    rated = [row for row, label in enumerate(labels) if label[ROLE] == RATED]
    mates = [place[labels[row][RELEVANT][0]] for row in rated]
    cosines = (unit(first)[rated] * unit(second)[mates]).sum(axis=1)
    return np.stack([[float(labels[row][GRADES][0]) for row in rated], cosines], axis=1)


def _pool(labels: Sequence[Label]) -> Pool:
    every = np.arange(len(labels))
    roles = np.array([label[ROLE] for label in labels])
    if not (roles == QUERY).any():
        return Pool(every, every, None)
    queries, documents = every[roles == QUERY], every[roles == DOCUMENT]
    places = {labels[row][NAME]: place for place, row in enumerate(documents)}
    relevant = [
        {
            places[name]: grade
            for name, grade in zip(labels[row][RELEVANT], labels[row][GRADES], strict=True)
            # Only a part of the documents may be shown.
            if name in places
        }
        for row in queries
    ]
    return Pool(queries, documents, relevant)
