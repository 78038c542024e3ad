"""Counting tokens, choosing among them, and what the choice does to texts that were not counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Tokens = Sequence[Sequence[int]]


def token_counts(rows: Tokens, size: int) -> np.ndarray:
    """How often each token occurs. rows: token numbers from 0 to size - 1. Returns (size,), int64."""
    return np.bincount(_joined(rows), minlength=size)


def most_frequent(counts: np.ndarray, least: int) -> list[int]:
    """The tokens that occur at least `least` times (and once), the most frequent first, of equals the lower first."""
    order = np.argsort(-counts, kind="stable")
    return [int(token) for token in order if counts[token] >= max(least, 1)]


def changed_shares(rows: Tokens, kept: np.ndarray) -> tuple[float, float]:
    """The share of rows with a token that was not kept, and the share of such tokens. kept: (size,), boolean."""
    gone = ~kept[_joined(rows)]
    owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return len(np.unique(owner[gone])) / len(rows), float(gone.mean())


def unseen_shares(
    rows: Tokens, groups: Sequence[int], size: int, choose: Callable[[np.ndarray], np.ndarray], folds: int
) -> tuple[float, float] | None:
    """`changed_shares` of rows under a choice that has not seen them: an estimate for new texts.

    The groups are dealt out to `folds` parts (fewer where there are fewer groups); for each part `choose(counts)` gives
    the tokens kept, (size,) boolean, from the counts of the other parts. Averaged over parts by their rows. None for
    fewer than two groups. A little pessimistic: each choice saw (folds - 1) / folds of the rows.
    """
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    parts = min(folds, int(numbers.max()) + 1)
    if parts < 2:
        return None
    counts = token_counts(rows, size)
    sums, tokens = np.zeros(2), 0
    for part in range(parts):
        held_out = [rows[int(i)] for i in np.flatnonzero(numbers % parts == part)]
        texts, share = changed_shares(held_out, choose(counts - token_counts(held_out, size)))
        length = sum(map(len, held_out))
        sums += [texts * len(held_out), share * length]
        tokens += length
    return float(sums[0] / len(rows)), float(sums[1] / tokens)


def _joined(rows: Tokens) -> np.ndarray:
    return np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
