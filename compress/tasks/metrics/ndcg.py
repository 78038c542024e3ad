"""The mean over queries of the normalized discounted cumulative gain of the first ten."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from compress.core.metric import SHARE, Unit
from compress.tasks.metrics.ratio import Ratio

FIRST = 10
# The figure that says what any order of the same candidates is worth.
ANY_ORDER = "ndcg_of_any_order"


class Ndcg(Ratio):
    """ndcg: of one query, from `ndcg_of`. count: 1."""

    name: ClassVar[str] = "ndcg_at_10"
    title: ClassVar[str] = "nDCG@10"
    unit: ClassVar[Unit] = SHARE
    columns: ClassVar[tuple[str, ...]] = ("ndcg", "count")
    proportion: ClassVar[bool] = False
    thing: ClassVar[str] = "query"


def ndcg_of(gains: np.ndarray, scores: np.ndarray, first: int = FIRST) -> float:
    """One query's: the sum of gain / log2(1 + rank) over the `first` documents by score, over the best possible sum.

    gains: (documents,), 0 or more, how relevant each is. scores: (documents,), the model's; where two are equal the
    earlier document comes first. 0 where none is relevant. Source: Järvelin and Kekäläinen 2002, Cumulated gain-based
    evaluation of IR techniques.
    """
    discounts = 1.0 / np.log2(np.arange(2, min(first, len(gains)) + 2))
    order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")[:first]
    best = float((np.sort(np.asarray(gains, dtype=float))[::-1][:first] * discounts).sum())
    return float((np.asarray(gains, dtype=float)[order] * discounts).sum()) / best if best else 0.0


def ndcg_of_any_order(gains: np.ndarray, first: int = FIRST) -> float:
    """What `ndcg_of` is on average over all orders of the documents: each has the same share of every discount. 0 where
    none is relevant. gains: (documents,), 0 or more."""
    gains = np.asarray(gains, dtype=float)
    discounts = 1.0 / np.log2(np.arange(2, min(first, len(gains)) + 2))
    best = float((np.sort(gains)[::-1][:first] * discounts).sum())
    return float(gains.mean() * discounts.sum()) / best if best else 0.0
