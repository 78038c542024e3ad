"""The paired difference of two models on many texts from the labels of a few: of those that they answer differently.

Where both models answer alike, they are right or wrong together, and the difference is 0 whatever the label is. So only
the texts that they answer differently have to be labelled, or some of these, drawn at random. Sources: Cochran 1977,
Sampling Techniques, chapter 12 (double sampling: a large first sample tells how many there are of each kind, a second
one, drawn from it, what they are like), and chapter 9 (clusters of unequal size).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from compress.measure.clusters import satterthwaite, variance_of_sums
from compress.measure.estimate import Estimate

# What `labels_for` aims at: the half width of the interval is this share of the margin, so that a model passes that is
# worse by as much as the other half.
SHARE_OF_MARGIN = 0.5
# Fewer labels say little of how much the differences vary.
FEWEST = 30


@dataclass(frozen=True)
class Pool:
    """Texts that both models have answered. Texts of one group belong together.

    texts, groups: how many there are. different: of the texts, how many have two different answers. differing: how many
    groups hold such a text. alike_squares: the sum of the squares of the sizes of the other groups.
    """

    texts: int
    groups: int
    different: int
    differing: int
    alike_squares: int


def pool_of(differ: np.ndarray, groups: Sequence[int]) -> Pool:
    """differ: (texts,), whether the two answers are different. groups: (texts,), equal where texts belong together."""
    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    sizes, count = np.bincount(numbers), np.bincount(numbers, weights=differ)
    alike = sizes[count == 0]
    return Pool(len(numbers), len(sizes), int(count.sum()), int((count > 0).sum()), int((alike**2).sum()))


def estimate_drawn(pool: Pool, sums: Sequence[float], sizes: Sequence[int]) -> Estimate:
    """The mean difference of accuracy, student less teacher, over all texts of the pool.

    sums: (drawn,), of each group that was drawn at random from the differing ones, and labelled: how many more of its
    texts the student answers rightly than the teacher. sizes: (drawn,), how many texts each has, with those answered
    alike. Two pseudo-groups that differ by +1 and -1 at half weight each keep a handful of labels that agree from
    giving an interval of width zero, as in `paired_interval`; with every differing group drawn the two are the same.
    The degrees of freedom are those of what was drawn. Raises ValueError where more were drawn than differ, or none.
    """
    found, of_each = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    drawn = len(found)
    if pool.differing == 0:
        found, of_each, scale = np.zeros(0), np.zeros(0), 0.0
    elif not 0 < drawn <= pool.differing:
        raise ValueError(f"{drawn} groups were drawn, of {pool.differing} that differ")
    else:
        scale = pool.differing / drawn
    mean = scale * float(found.sum()) / pool.texts
    count = pool.texts + 2
    if pool.groups < 2:
        return Estimate(mean, mean * pool.texts / count, 1.0, 0.0, 1)
    # As all groups vary, had each been labelled: those that were drawn stand for those that were not.
    squares = scale * float(((found - mean * of_each) ** 2).sum()) + mean**2 * pool.alike_squares
    between = pool.groups / (pool.groups - 1) * (squares + 1.0) / count**2
    if drawn == pool.differing:
        return Estimate(mean, mean * pool.texts / count, math.sqrt(between), 0.0, pool.groups - 1)
    if drawn < 2:
        return Estimate(mean, mean * pool.texts / count, 1.0, 0.0, 1)
    spread = variance_of_sums(found - found.mean(), 1.0) / (drawn + 2) ** 2
    within = pool.differing**2 * (1 - drawn / pool.differing) * spread / count**2
    freedom = satterthwaite([between, within], [drawn - 1, drawn - 1])
    return Estimate(mean, mean * pool.texts / count, math.sqrt(between + within), 0.0, freedom)


def half_width(pool: Pool, drawn: int, confidence: float) -> float:
    """Half of the interval's width, on the scale of accuracy, that so many labelled groups will give where the student
    wins as often as it loses, text by text, also inside a group."""
    if pool.differing == 0:
        return _half(estimate_drawn(pool, [], []), confidence)
    # Of as many independent texts as a group has, on the average, the sum has this standard deviation.
    sums = np.full(drawn, math.sqrt(pool.different / pool.differing))
    sums[: drawn // 2] *= -1
    return _half(estimate_drawn(pool, sums.tolist(), [1] * drawn), confidence)


def labels_for(pool: Pool, margin: float, confidence: float) -> int:
    """How many of the differing groups to label, so that an interval of half the margin's width on each side is to be
    expected; all of them where that is not enough. margin: on the scale of accuracy, 0.01 for one point."""
    least = min(FEWEST, pool.differing)
    enough = (n for n in range(least, pool.differing) if half_width(pool, n, confidence) <= SHARE_OF_MARGIN * margin)
    return next(enough, pool.differing)


def labels_alone(half: float, differing_share: float, confidence: float) -> int:
    """How many examples drawn from all, and every one labelled, would give as narrow an interval where the models
    answer this share of them differently: the square of (quantile * standard deviation / half width)."""
    quantile = float(stdtrit(math.inf, confidence))
    return round(differing_share * (quantile / half) ** 2)


def _half(found: Estimate, confidence: float) -> float:
    low, high = found.interval(confidence)
    return (high - low) / 2
