"""Vectors in fewer bytes, as an index may keep those of documents: in INT8, or in one bit a dimension.

A query's own vector stays in float. Sources: Shakir, Aarsen and Lee 2024, Binary and Scalar Embedding Quantization for
Significantly Faster & Cheaper Retrieval (ranges by dimension; four times as many candidates); Yamada, Asai and
Hajishirzi 2021, Efficient Passage Retrieval with Hashing for Open-domain Question Answering (candidates by bits, then
the float query against bits).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from compress.core.kept_vectors import BINARY, INT8
from compress.tasks.ranking import unit

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


def ranges_of(vectors: np.ndarray) -> np.ndarray:
    """(2, dimensions) in float32: the least and the greatest value of each dimension among vectors at length 1, by
    which `int8_of` keeps others. vectors: (rows, dimensions)."""
    directions = unit(vectors).astype(np.float32)
    return np.stack([directions.min(axis=0), directions.max(axis=0)])


def steps_of(ranges: np.ndarray) -> np.ndarray:
    """(dimensions,) in float32: how far two neighbouring integers of each dimension are apart; 1 where its range is a
    single value."""
    steps = (ranges[1] - ranges[0]) / np.float32(255)
    return np.where(steps == 0, np.float32(1), steps)


def int8_of(directions: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """(rows, dimensions) as int8: how many whole steps a value lies above the least one, at most 255, less 128.

    directions: at length 1, in float32. What lies outside of the range is kept as its end. Source:
    `quantize_embeddings(..., precision="int8", ranges=ranges)` of sentence-transformers 6.
    """
    steps = np.floor((directions - ranges[0]) / steps_of(ranges))
    return (np.clip(steps, 0, 255) - 128).astype(np.int8)


def read_int8(kept: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """(rows, dimensions): the middle of the step that each value of `int8_of` stands for."""
    # A range that is a single value has been left by nothing: no half step is added there.
    return ranges[0] + (np.asarray(kept, dtype=np.float64) + 128.5) * ((ranges[1] - ranges[0]) / np.float32(255))


def bits_of(vectors: np.ndarray) -> np.ndarray:
    """(rows, bytes) as uint8: 1 where a value is above 0, eight dimensions in a byte, the first the highest bit; a last
    byte that is not full ends with zeros. Source: `quantize_embeddings(..., precision="ubinary")` of
    sentence-transformers 6."""
    return np.packbits(np.asarray(vectors) > 0, axis=1)


def read_bits(kept: np.ndarray, dimensions: int) -> np.ndarray:
    """(rows, dimensions): 1 and -1, as `in_bits` gives them. kept: as `bits_of` gives it."""
    return np.unpackbits(np.asarray(kept, dtype=np.uint8), axis=1, count=dimensions) * 2.0 - 1.0


def kept_scores(form: str, queries: np.ndarray, kept: np.ndarray, wanted: int) -> np.ndarray:
    """(queries, documents): by what float queries rank documents that were kept in a form, the best first `wanted`.

    kept: (documents, dimensions), as they read. INT8 is multiplied as it reads: an index divides by no length.
    """
    return scores_of(form, queries, kept, wanted) if form == BINARY else unit(queries) @ kept.T


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
