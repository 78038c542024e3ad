"""The paired difference of two models from few labels and much text: prediction-powered inference.

On text without labels the models' probabilities predict by how much the student's score differs from the teacher's.
The mean of these predictions over the text, less the same mean over the labelled examples, has an expectation of 0
where the two are alike, whatever the predictions are worth. Added to the classical estimate with a weight, it takes
away the part of its error that the predictions explain. With a weight of 0 it is the classical estimate.

Sources: Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023, Prediction-powered inference, Science 382;
Angelopoulos, Duchi and Zrnic 2023, PPI++: Efficient prediction-powered inference (the weight); Zrnic and Candès 2024,
Cross-prediction-powered inference (predictions that are tuned on the same labels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.measure.clusters import numbered_together, satterthwaite, variance_of_sums
from compress.measure.estimate import Estimate
from compress.measure.paired import mean_and_error


@dataclass(frozen=True)
class Predictions:
    """What is predicted of each example's difference, from the example alone.

    labelled: (examples,). usable: (examples,), whether the text without labels is like this example; the others, such
    as those that training has seen too, are judged by their labels alone. texts: (texts,), of those without labels.
    groups: (texts,), numbered as the examples' groups are: equal where they belong together.
    """

    labelled: np.ndarray
    usable: np.ndarray
    texts: np.ndarray
    groups: Sequence[int]


def powered(
    differences: np.ndarray,
    groups: Sequence[int],
    predictions: Predictions,
    *,
    weight: float | None = None,
) -> tuple[Estimate, float]:
    """The mean paired difference, and the mean weight that the predictions had.

    differences: (examples,), of scores. groups: (examples,), examples of one group are taken together, and texts with
    the labelled examples of their group. weight: of the predictions, 0 to 1; None: for each group the one that the
    other groups find best, so that no example has a part in what it is corrected by. The rest is as in
    `paired_interval`: the same pseudo-examples, and Student's t, here with the degrees of freedom of the labelled
    groups and those of the texts together (Satterthwaite).
    """
    count, texts = len(differences), len(predictions.texts)
    centre, error, freedom = mean_and_error(differences, groups)
    classical = Estimate(float(differences.mean()), centre, error, 0.0, freedom)
    ours, theirs, clusters = numbered_together(groups, predictions.groups)
    labelled = np.bincount(ours, minlength=clusters) > 0
    if labelled.sum() < 2 or not predictions.usable.any() or (~labelled).sum() < 2:
        return classical, 0.0

    usable, expected = predictions.usable, float(predictions.texts.mean())
    # Sums over groups, all times (examples + 2): of the differences, of the predictions and of the texts' predictions.
    scale = (count + 2) / count
    answers = np.bincount(ours, differences - differences.mean(), clusters)
    below = np.where(usable, predictions.labelled[usable].mean() - predictions.labelled, 0.0)
    shifts = np.bincount(ours, below * scale, clusters)
    spread = np.bincount(theirs, (predictions.texts - expected) * (count + 2) / texts, clusters)
    of_texts = variance_of_sums(spread[~labelled])

    weights = (
        np.full(clusters, weight) if weight is not None else _weights(answers, shifts, of_texts * usable.mean() ** 2)
    )
    of_examples = np.where(usable, weights[ours], 0.0)
    mean_weight = float(of_examples.sum()) / count
    shift = float((of_examples * (expected - predictions.labelled)).sum()) / count
    sums = answers + weights * shifts + mean_weight * spread
    variances = [
        variance_of_sums(sums[labelled], 1.0) / (count + 2) ** 2,
        mean_weight**2 * of_texts / (count + 2) ** 2,
    ]
    freedoms = [int(labelled.sum()) - 1, int((~labelled).sum()) - 1]
    found = Estimate(
        classical.difference + shift,
        classical.centre + shift,
        math.sqrt(sum(variances)),
        0.0,
        satterthwaite(variances, freedoms),
    )
    return found, mean_weight * count / int(usable.sum())


def _weights(answers: np.ndarray, shifts: np.ndarray, of_texts: float) -> np.ndarray:
    """For each group the weight, 0 to 1, by which the variance over the others is least: that of the sums of answers +
    weight * shifts, and weight² times that of the texts. Source: Angelopoulos, Duchi and Zrnic 2023, section 6."""
    common, own = float(answers @ shifts) - answers * shifts, float(shifts @ shifts) - shifts**2
    scale = own + of_texts
    best = np.divide(-common, scale, out=np.zeros_like(scale), where=scale > 1e-12)
    return np.clip(best, 0.0, 1.0)


def worth(labels: int, alone: Estimate, found: Estimate, confidence: float) -> int:
    """How many labels, without any predictions, would give as narrow an interval: half widths shrink with the root."""
    halves = [(high - low) / 2 for low, high in (alone.interval(confidence), found.interval(confidence))]
    return round(labels * (halves[0] / halves[1]) ** 2)
