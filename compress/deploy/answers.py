"""What a predictor answers with. Nothing in it can be changed: the same answer may be given to several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Labelled:
    """label: the most likely one. score: its share of the softmax. scores: of every label."""

    label: str
    score: float
    scores: Mapping[str, float]


class TaggedWord(NamedTuple):
    """tag, score: the most likely tag and its share of the softmax; None and 0 for a word of which the tokenizer reads
    nothing. begin, end: where the word stands in a text that was given whole, else None."""

    word: str
    tag: str | None
    score: float
    begin: int | None
    end: int | None


Answer = Labelled | np.ndarray | tuple[TaggedWord, ...]
# About what CPython takes: an array's head; an answer's object and its mapping; a label's place and number in it.
ARRAY_BYTES, LABELLED_BYTES, LABEL_BYTES, WORD_BYTES = 112, 200, 100, 200


def labelled(logits: np.ndarray, names: Sequence[str]) -> Labelled:
    """logits: (labels,)."""
    shares = softmax(logits).tolist()
    best = int(np.argmax(logits))
    return Labelled(names[best], shares[best], MappingProxyType(dict(zip(names, shares, strict=True))))


def vector(output: np.ndarray) -> np.ndarray:
    """A copy that nobody can write to. output: (dimensions,)."""
    kept = np.array(output)
    kept.flags.writeable = False
    return kept


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def bytes_of(answer: Answer) -> int:
    """About how much memory an answer takes."""
    if isinstance(answer, np.ndarray):
        return ARRAY_BYTES + answer.nbytes
    if isinstance(answer, Labelled):
        return LABELLED_BYTES + LABEL_BYTES * len(answer.scores)
    return LABELLED_BYTES + sum(WORD_BYTES + len(word.word) for word in answer)


def same_answers(one: Sequence[Answer], other: Sequence[Answer]) -> int:
    """How many answers at the same place agree: the label; all tags; for vectors, which other text is nearest by
    cosine."""
    if one and isinstance(one[0], np.ndarray):
        return int((_nearest(one) == _nearest(other)).sum())
    return sum(_told(a) == _told(b) for a, b in zip(one, other, strict=True))


def _told(answer: Answer) -> object:
    return answer.label if isinstance(answer, Labelled) else [word.tag for word in answer]


def _nearest(vectors: Sequence[Answer]) -> np.ndarray:
    matrix = np.stack([np.asarray(one, dtype=np.float64) for one in vectors])
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    cosines = matrix @ matrix.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines.argmax(axis=1)
