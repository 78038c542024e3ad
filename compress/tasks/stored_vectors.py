"""Vectors in fewer bytes, as an index may keep those of documents: in INT8, or in one bit a dimension.

A query's own vector stays in float. Sources: Shakir, Aarsen and Lee 2024, Binary and Scalar Embedding Quantization for
Significantly Faster & Cheaper Retrieval (ranges by dimension; four times as many candidates); Yamada, Asai and
Hajishirzi 2021, Efficient Passage Retrieval with Hashing for Open-domain Question Answering (candidates by bits, then
the float query against bits).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from compress.tasks.ranking import unit

INT8, BINARY = "int8", "binary"
# Bits find so many times the wanted number of candidates, which the float query then ranks.
CANDIDATES = 4


def in_int8(vectors: np.ndarray) -> np.ndarray:
    """(rows, dimensions) as they read after being kept as 8-bit integers: 256 even steps between the least and the
    greatest value that each dimension has among these rows."""
    directions = unit(vectors)
    low, high = directions.min(axis=0), directions.max(axis=0)
    step = np.where(high > low, (high - low) / 255, 1.0)
    return low + np.round((directions - low) / step) * step


def in_bits(vectors: np.ndarray) -> np.ndarray:
    """(rows, dimensions): 1 where a value is above 0, else -1."""
    return np.where(np.asarray(vectors) > 0, 1.0, -1.0)


# How each form reads after being kept.
KEPT: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {INT8: in_int8, BINARY: in_bits}


def scores_of(form: str, queries: np.ndarray, documents: np.ndarray, wanted: int) -> np.ndarray:
    """(queries, documents): by what an index that keeps its documents so ranks them, the best first `wanted`.

    queries, documents: (rows, dimensions) in float. With bits, documents that are no candidates by their bits come
    after all that are.
    """
    kept = KEPT[form](documents)
    scores = unit(queries) @ unit(kept).T
    if form != BINARY or len(documents) <= CANDIDATES * wanted:
        return scores
    alike = in_bits(queries) @ kept.T
    others = np.argsort(-alike, axis=1, kind="stable")[:, CANDIDATES * wanted :]
    # Cosines are at least -1.
    np.put_along_axis(scores, others, np.take_along_axis(alike, others, axis=1) / alike.shape[1] - 3.0, axis=1)
    return scores
