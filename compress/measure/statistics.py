"""Comparing two evaluations in pairs. Everything here is a pure function of its arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr, stdtrit

from compress.core.evaluation import Comparison, Evaluation, Interval, Latency

RESAMPLES = 4999
# Resamples are computed in so many parts, to hold less in memory.
PARTS = 20
# More than so many times the examples that there are is no answer. The difference then lies nearer to the limit than a
# fifth of the interval's half width, a third of its own standard error (at 95%): whether it lies above or below is as
# good as open, and nobody labels so many more.
MOST_TIMES_AS_MANY = 25
SEED = 0


def compare(baseline: Evaluation, candidate: Evaluation, *, confidence: float, margin: float) -> Comparison:
    """The candidate against the baseline. Raises ValueError where they were not scored on the same examples."""
    if len(baseline.scores) != len(candidate.scores) or baseline.groups != candidate.groups:
        raise ValueError("the two evaluations are not of the same examples")
    differences = np.asarray(candidate.scores) - np.asarray(baseline.scores)
    difference = float(differences.mean())
    interval = paired_interval(differences, candidate.groups, candidate.score_range, confidence)
    ratio, ratio_interval = (None, None)
    if candidate.latency is not None and candidate.latency.baseline_rounds:
        ratio, ratio_interval = speedup(candidate.latency, confidence)
    versus_torch = None
    if ratio is not None and baseline.torch_ratio is not None:
        versus_torch = ratio * baseline.torch_ratio
    return Comparison(
        score_difference=difference,
        score_interval=interval,
        speedup=ratio,
        speedup_interval=ratio_interval,
        speedup_vs_torch=versus_torch,
        examples=len(differences),
        examples_to_decide=examples_to_decide(difference, interval, margin, len(differences)),
        confidence=confidence,
    )


def paired_interval(differences: np.ndarray, groups: Sequence[int], score_range: float, confidence: float) -> Interval:
    """Two-sided interval of the mean paired difference; each end is a one-sided bound at `confidence`.

    differences: (n,). groups: (n,), examples of one group are taken together. The standard error is that of a mean
    over clusters, with two pseudo-examples that differ by +range and -range at half weight each. Without them a handful
    of examples that happen to agree would give an interval of width zero, and pass anything. With Student's t on
    (groups - 1) degrees of freedom. Sources: Agresti and Min 2005, Simple improved confidence intervals for comparing
    matched proportions (half a pseudo-example in each cell of the two-by-two table); Cochran 1977, Sampling
    Techniques, chapter 9 (clusters of unequal size).
    """
    centre, error, freedom = _mean_and_error(differences, groups, score_range)
    half = float(stdtrit(freedom, confidence)) * error
    return centre - half, centre + half


def chance_of_no_loss(differences: np.ndarray, groups: Sequence[int], score_range: float) -> float:
    """The p-value of a mean paired difference of 0 or more, one-sided: small where the candidate is shown to be worse.

    It agrees with `paired_interval`: below 1 - confidence where that interval's upper end is below 0.
    """
    centre, error, freedom = _mean_and_error(differences, groups, score_range)
    return float(stdtr(freedom, centre / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value corrected for how many there are, in their order. Source: Holm 1979, A simple sequentially
    rejective multiple test procedure."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(np.asarray(p_values), kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _mean_and_error(differences: np.ndarray, groups: Sequence[int], score_range: float) -> tuple[float, float, int]:
    """Centre, standard error and degrees of freedom: see `paired_interval`."""
    n = len(differences)
    _, cluster = np.unique(np.asarray(groups), return_inverse=True)
    clusters = int(cluster.max()) + 1
    mean = float(differences.mean())
    # The pseudo-examples pull the centre towards zero by the same small amount on both sides.
    centre = mean * n / (n + 2)
    if clusters == 1:
        # However many examples: how groups differ cannot be seen in one.
        return centre, score_range, 1
    sums = np.bincount(cluster, weights=differences - mean, minlength=clusters)
    variance = clusters / (clusters - 1) * (float((sums**2).sum()) + score_range**2) / (n + 2) ** 2
    return centre, math.sqrt(variance), clusters - 1


def examples_to_decide(difference: float, interval: Interval, margin: float, examples: int) -> int | None:
    """How many examples would bring the end of the interval that faces -margin onto it; None where no number would
    that one would label, MOST_TIMES_AS_MANY times as many as there are.

    The half width shrinks with the square root of the number of examples; the spread and the grouping are taken to
    stay as they are.
    """
    distance = difference + margin
    half = (interval[1] - interval[0]) / 2
    if half**2 >= MOST_TIMES_AS_MANY * distance**2:
        return None
    return math.ceil(examples * (half / distance) ** 2)


def speedup(latency: Latency, confidence: float) -> tuple[float, Interval]:
    """Baseline time over candidate time, and an interval whose ends are one-sided bounds at `confidence`.

    The time of a set of rounds is the sum over examples of each one's median. Rounds of one launch are alike: two
    processes of the very same program differ for as long as they live, and a machine's mood outlasts a round. So the
    interval comes of the logarithms of the launches' own ratios, with Student's t on (launches - 1) degrees of freedom.
    Of a single launch rounds are resampled, in pairs that ran one after the other; that interval says nothing of other
    launches. Raises ValueError where the rounds are not equally many in each launch.
    """
    baseline, candidate, launches = np.asarray(latency.baseline_rounds), np.asarray(latency.rounds), latency.launches
    if len(candidate) % launches:
        raise ValueError(f"{len(candidate)} rounds are not {launches} launches of equally many")

    def ratios(chosen: np.ndarray) -> np.ndarray:
        return _times(baseline, chosen) / _times(candidate, chosen)

    every = np.arange(len(candidate))
    ratio = float(ratios(every[None])[0])
    if launches == 1:
        drawn = np.random.default_rng(SEED).integers(0, len(candidate), (RESAMPLES, len(candidate)))
        found = np.concatenate([ratios(part) for part in np.array_split(drawn, PARTS)])
        low, high = np.quantile(found, [1 - confidence, confidence])
        return ratio, (float(low), float(high))
    logs = np.log(ratios(every.reshape(launches, -1)))
    half = float(stdtrit(launches - 1, confidence) * logs.std(ddof=1)) / math.sqrt(launches)
    return ratio, (ratio * math.exp(-half), ratio * math.exp(half))


def percentiles(latency: Latency) -> tuple[float, float]:
    """p50 and p90 of milliseconds per example, over examples of real lengths and all rounds."""
    p50, p90 = np.percentile(np.asarray(latency.rounds), [50, 90])
    return float(p50), float(p90)


def _times(rounds: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """For each draw of rounds the sum over examples of each one's median.

    rounds: (rounds, examples). drawn: (draws, rounds), which rounds. Returns (draws,). Sorted all at once, which takes
    a fraction of what as many calls of `numpy.median` take.
    """
    ordered = np.sort(rounds.T[:, drawn], axis=-1)
    middle = drawn.shape[1] - 1
    medians = (ordered[..., middle // 2] + ordered[..., (middle + 1) // 2]) / 2
    return np.ascontiguousarray(medians.T).sum(axis=1)
