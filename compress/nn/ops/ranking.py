"""How far scores of passages are from a teacher's, query by query."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def margin_distance(found: Tensor, expected: Tensor, same: Tensor) -> Tensor:
    """The mean, over pairs of rows of one query, of ((found_i - found_j) - (expected_i - expected_j))²; 0 where there
    is no such pair. found, expected: (rows,). same: (rows, rows), True where two rows are of one query."""
    pairs = same.triu(diagonal=1)
    error = found - expected
    return ((error[:, None] - error[None, :]).pow(2) * pairs).sum() / pairs.sum().clamp(min=1)


def ranking_divergence(found: Tensor, expected: Tensor, same: Tensor) -> Tensor:
    """KL(expected || found) of the distributions that a softmax makes of the scores of each query's rows: the mean over
    the queries with more than one row, 0 where there is none. Arguments as of `margin_distance`."""
    # Finite: a difference of two infinities is no number, even where its weight is 0.
    left_out = torch.zeros_like(same, dtype=found.dtype).masked_fill(~same, -1e9)
    ours, theirs = (functional.log_softmax(scores[None, :] + left_out, dim=1) for scores in (found, expected))
    divergence = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)
    # Each row of a query holds the whole query's.
    sizes = same.sum(dim=1)
    share = (sizes > 1) / sizes
    return (divergence * share).sum() / share.sum().clamp(min=1)
