"""Comparing two evaluations in pairs. Everything here is a pure function of its arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtri, stdtrit

from compress.core.evaluation import Comparison, Evaluation, Interval, Latency
from compress.core.metric import Label, Metric
from compress.measure.classes import only_answer, recalls
from compress.measure.estimate import Estimate
from compress.measure.paired import mean_and_error
from compress.measure.spare_text import SpareText, with_spare_text

RESAMPLES = 4999
# Resamples are computed in so many parts, to hold less in memory.
PARTS = 20
# More than so many times the examples that there are is no answer. The difference then lies nearer to the limit than
# three tenths of the interval's half width, half of its own standard error (at 95%): whether it lies above or below is
# as good as open, and nobody labels so many more.
MOST_TIMES_AS_MANY = 25
# How often the number of examples that is named should be enough.
POWER = 0.8
# The jackknife leaves out one group at a time, or one of so many blocks of groups: more cost time and tell nothing.
BLOCKS = 200
SEED = 0


def compare(
    baseline: Evaluation,
    candidate: Evaluation,
    metric: Metric,
    *,
    confidence: float,
    margin: float,
    recall_margin: float | None = None,
    spare: SpareText | None = None,
) -> Comparison:
    """The candidate against the baseline. margin: on the scale of values, see `Unit.limit`. recall_margin: see
    `recalls`; None where nobody asks for single classes. spare: texts without labels that both have answered, by which
    they are judged too, unless these are unlike the labelled examples.

    Raises ValueError where they were not judged by this metric on the same examples.
    """
    if {baseline.metric, candidate.metric} != {metric.name}:
        raise ValueError(f"evaluated by {baseline.metric} and {candidate.metric}, compared by {metric.name}")
    if len(baseline.statistics) != len(candidate.statistics) or baseline.groups != candidate.groups:
        raise ValueError("the two evaluations are not of the same examples")
    found = estimate(np.asarray(baseline.statistics), np.asarray(candidate.statistics), candidate.groups, metric)
    # How many labels decide is said of labels alone: more of them, and not more text, is what a user would add.
    alone, powered = found.interval(confidence), None
    if spare is not None:
        differences = np.asarray(candidate.statistics)[:, 0] - np.asarray(baseline.statistics)[:, 0]
        found, powered = with_spare_text(found, differences, candidate.groups, spare, confidence)
    interval, examples = found.interval(confidence), len(candidate.statistics)
    ratio, ratio_interval, disturbance = (None, None, None)
    if candidate.latency is not None and candidate.latency.baseline_rounds:
        ratio, ratio_interval = speedup(candidate.latency, confidence)
        disturbance = candidate.latency.disturbance
    if disturbance is not None:
        disturbance = replace(disturbance, speedup=ratio, speedup_interval=ratio_interval)
        ratio, ratio_interval = (None, None)
    versus_torch = None
    if ratio is not None and baseline.torch_ratio is not None:
        versus_torch = ratio * baseline.torch_ratio
    return Comparison(
        metric=Label.of(metric),
        score_difference=found.difference,
        score_interval=interval,
        speedup=ratio,
        speedup_interval=ratio_interval,
        speedup_vs_torch=versus_torch,
        examples=examples,
        examples_to_decide=examples_to_decide(found.difference, alone, margin, examples, confidence),
        confidence=confidence,
        lost=lost_classes(baseline.by_class, candidate.by_class, metric.thing),
        batch_effect=candidate.batch_effect,
        recalls=()
        if recall_margin is None
        else recalls(baseline, candidate, confidence=confidence, margin=recall_margin, thing=metric.thing),
        constant=only_answer(candidate),
        baseline_constant=only_answer(baseline),
        disturbance=disturbance,
        prediction_powered=powered,
    )


def estimate(baseline: np.ndarray, candidate: np.ndarray, groups: Sequence[int], metric: Metric) -> Estimate:
    """The difference of the metric's values on the same examples, in pairs.

    baseline, candidate: (examples, columns). groups: (examples,). A proportion is judged as `paired_interval` says,
    every other metric by `jackknife`.
    """
    if not metric.proportion:
        return jackknife(baseline, candidate, groups, metric)
    differences = candidate[:, 0] - baseline[:, 0]
    centre, error, freedom = mean_and_error(differences, groups)
    return Estimate(float(differences.mean()), centre, error, 0.0, freedom)


def jackknife(baseline: np.ndarray, candidate: np.ndarray, groups: Sequence[int], metric: Metric) -> Estimate:
    """The difference of values, its standard error by leaving out one group of examples after the other.

    Where there are more than 200 groups, one block of groups after the other. Two guards against samples that show less
    than there is. First, an end of the interval that lies h away from the difference stands for h / one things more
    that are lost or won than were seen, whose number varies as a Poisson number does: that adds h * one to the squared
    error there. So a sample in which both models agree has a half width of about 2.7 things at 95%, close to the
    classical three, where the pseudo-examples of `paired_interval` would give 1.6. Second, the degrees of freedom fall
    where few groups make up most of the spread, as they do with rare entities: by Satterthwaite's rule 2 (sum of
    squares)² / (sum of fourth powers - (sum of squares)² / groups). `benchmarks/intervals.py` shows what this is worth.
    Sources: Efron and Stein 1981, The jackknife estimate of variance; Wilson 1927, Probable inference, whose interval
    takes the error at its ends in the same way; Satterthwaite 1946, An approximate distribution of estimates of
    variance components.
    """
    difference = metric.value(candidate) - metric.value(baseline)
    one = max(metric.one_lost(baseline), metric.one_lost(candidate))
    _, cluster = np.unique(np.asarray(groups), return_inverse=True)
    blocks = min(int(cluster.max()) + 1, BLOCKS)
    if blocks == 1:
        # However many examples: how groups differ cannot be seen in one.
        return Estimate(difference, difference, 1.0, one, 1)
    block = cluster % blocks
    away = metric.without(candidate, block) - metric.without(baseline, block) - difference
    squares, fourths = float((away**2).sum()), float((away**4).sum())
    freedom = 2 * squares**2 / (fourths - squares**2 / blocks) if fourths > squares**2 / blocks else math.inf
    error = math.sqrt((blocks - 1) / blocks * squares)
    return Estimate(difference, difference, error, one, min(blocks - 1.0, freedom))


def lost_classes(
    baseline: Mapping[str, tuple[float, float, float]],
    candidate: Mapping[str, tuple[float, float, float]],
    thing: str,
) -> tuple[tuple[str, int, int], ...]:
    """Classes of which the baseline finds some and the candidate none: what it is, how many it finds, how many there
    are."""
    return tuple(
        (f"{thing} {name}", int(found), int(actual))
        for name, (found, _, actual) in baseline.items()
        if found >= 1 and candidate.get(name, (0.0, 0.0, 0.0))[0] == 0
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value corrected for how many there are, in their order. Source: Holm 1979, A simple sequentially
    rejective multiple test procedure."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(np.asarray(p_values), kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def examples_to_decide(
    difference: float, interval: Interval, margin: float, examples: int, confidence: float
) -> int | None:
    """How many examples decide with a chance of 80% on which side of -margin the difference lies, if it is as measured;
    None where no number does that one would label, MOST_TIMES_AS_MANY times as many as there are.

    The half width is taken to shrink with the square root of the number of examples, spread and grouping to stay as
    they are. An interval whose end just reaches the margin decides every second time only: the difference has to be
    away from it by the half width and 0.84 standard errors, the 80% quantile.
    """
    distance = difference + margin
    half = (interval[1] - interval[0]) / 2
    needed = half * (1 + float(ndtri(POWER) / ndtri(confidence)))
    if needed**2 >= MOST_TIMES_AS_MANY * distance**2:
        return None
    return math.ceil(examples * (needed / distance) ** 2)


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
    """p50 and p90 of milliseconds per example, over examples of real lengths and all rounds. Of examples that were
    timed together each has its share."""
    p50, p90 = np.percentile(np.asarray(latency.rounds) / latency.at_once, [50, 90])
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
