"""Probabilities that two models give together, brought to what they are worth by labels, and what these predict.

Each model's logits are multiplied by one number (of a single model: one over its temperature) and added. The numbers
are those by which the labels are least surprising. The teacher alone would always say that it is right itself where the
two answer differently; both together know that a sure student beats a teacher in doubt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

# Labels that the numbers are found on are not those that they are used on: so many parts of whole groups take turns.
FOLDS = 5
# Where every answer is right no number is large enough; a temperature of 1/20 leaves no doubt.
LARGEST = 20.0


def probabilities(models: Sequence[np.ndarray], scales: Sequence[float] | np.ndarray) -> np.ndarray:
    """softmax of the sum of scale * logits over the models, (rows, classes). models: logits, (rows, classes) each."""
    total = sum(scale * np.asarray(logits, dtype=float) for scale, logits in zip(scales, models, strict=True))
    raised = np.exp(total - np.max(total, axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def scales_of(models: Sequence[np.ndarray], labels: Sequence[int]) -> np.ndarray:
    """The scales, (models,), 0 to 20, by which the labels are least surprising: the mean of -log of the label's
    probability is least, which is convex in them. models: logits, (rows, classes) each. Sources: Guo, Pleiss, Sun and
    Weinberger 2017, On calibration of modern neural networks (temperature); Genest and Zidek 1986, Combining
    probability distributions (the logarithmic pool)."""
    stacked = np.stack([np.asarray(logits, dtype=float) for logits in models])
    rows, chosen = np.arange(len(labels)), np.asarray(labels)

    def surprise(scales: np.ndarray) -> tuple[float, np.ndarray]:
        total = np.tensordot(scales, stacked, axes=1)
        total = total - total.max(axis=1, keepdims=True)
        logarithms = total - np.log(np.exp(total).sum(axis=1, keepdims=True))
        expected = (np.exp(logarithms) * stacked).sum(axis=2).mean(axis=1)
        return -float(logarithms[rows, chosen].mean()), expected - stacked[:, rows, chosen].mean(axis=1)

    begin = np.full(len(stacked), 1 / len(stacked))
    found = minimize(surprise, begin, jac=True, method="L-BFGS-B", bounds=[(0.0, LARGEST)] * len(stacked))
    return np.asarray(found.x)


def predicted(chances: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """For each row by how much the second answer is likelier to be right than the first: P(after) - P(before).

    chances: (rows, classes). before, after: (rows,), numbers of classes. 0 where the two agree: no label is needed to
    know that they are right or wrong together.
    """
    rows = np.arange(len(before))
    return np.asarray(chances[rows, after] - chances[rows, before])


def folds_of(groups: Sequence[int], folds: int = FOLDS) -> np.ndarray:
    """For each example the number of its part, from 0: groups stay whole, and there are no more parts than groups."""
    found, cluster = np.unique(np.asarray(groups), return_inverse=True)
    return np.asarray(cluster % min(folds, len(found)))


def cross_fitted(
    labelled: Sequence[np.ndarray], texts: Sequence[np.ndarray], labels: Sequence[int], groups: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted differences of the labelled examples and of texts without labels, and the mean scales.

    labelled, texts: logits of teacher and student, (rows, classes) each. A part's scales come of the labels of the
    others. Texts get the mean of all parts' predictions, each counted as often as it has examples: so labelled examples
    and texts of one kind have predictions of one expectation, however the scales fall out.
    """
    part, chosen = folds_of(groups), np.asarray(labels)
    of_labelled, of_texts, scales = np.zeros(len(part)), np.zeros(len(texts[0])), []
    before, after = (logits.argmax(axis=1) for logits in labelled)
    before_texts, after_texts = (logits.argmax(axis=1) for logits in texts)
    for number in range(int(part.max()) + 1):
        inside = part == number
        outside = inside if inside.all() else ~inside
        scales.append(scales_of([logits[outside] for logits in labelled], chosen[outside].tolist()))
        chances = probabilities([logits[inside] for logits in labelled], scales[-1])
        of_labelled[inside] = predicted(chances, before[inside], after[inside])
        of_texts += inside.mean() * predicted(probabilities(texts, scales[-1]), before_texts, after_texts)
    return of_labelled, of_texts, np.mean(scales, axis=0)
