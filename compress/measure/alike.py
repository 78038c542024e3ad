"""Whether texts without labels are like those that have some, by what both models make of them: no label is looked at.

Each of a few means (length, the teacher's confidence, how often it names each class, how often the student answers
otherwise, the predicted difference) is compared by Student's t, groups taken together. All comparisons as a whole find
a difference where there is none with a chance of at most LEVEL (Bonferroni 1936).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtr

from compress.measure.calibration import predicted, probabilities
from compress.measure.clusters import numbered_together, satterthwaite, variance_of_sums

LEVEL = 0.05
# Classes that are looked at, those with the largest share: each one more makes all bounds wider.
MOST_CLASSES = 10


def features(teacher: np.ndarray, student: np.ndarray, lengths: Sequence[int]) -> dict[str, np.ndarray]:
    """What is compared, by name, each (rows,). teacher, student: logits, (rows, classes). lengths: of rows.

    Probabilities are as the teacher gives them, and the predicted difference is by the mean logits of both: what is
    found of these by labels, such as a temperature, has no part here.
    """
    chances, both = probabilities([teacher], [1.0]), probabilities([teacher, student], [0.5, 0.5])
    before, after = teacher.argmax(axis=1), student.argmax(axis=1)
    found = {
        "length": np.asarray(lengths, dtype=float),
        "confidence of the teacher": chances.max(axis=1),
        "share answered otherwise by the student": (before != after).astype(float),
        "predicted difference": predicted(both, before, after),
    }
    return found | {f"share of class {number}": chances[:, number] for number in range(chances.shape[1])}


def compared(shares: Mapping[str, np.ndarray]) -> list[str]:
    """The names of those to compare: of two classes one says all, and of many the most frequent are taken."""
    classes = [name for name in shares if name.startswith("share of class")]
    ordered = sorted(classes, key=lambda name: -float(shares[name].mean()))
    kept = classes[1:] if len(classes) == 2 else ordered[:MOST_CLASSES]
    return [name for name in shares if name not in classes or name in kept]


def unlike(
    labelled: Mapping[str, np.ndarray],
    texts: Mapping[str, np.ndarray],
    groups: Sequence[int],
    text_groups: Sequence[int],
) -> tuple[str, float, float] | None:
    """The name and the two means of what differs most, labelled first, where it is shown to differ; None where nothing
    is. labelled, texts: see `features`. groups, text_groups: (rows,) each, equal where rows belong together."""
    names = compared(labelled)
    found = [(chance_of_equal(labelled[name], texts[name], groups, text_groups), name) for name in names]
    chance, name = min(found)
    if chance * len(names) > LEVEL:
        return None
    return name, float(labelled[name].mean()), float(texts[name].mean())


def chance_of_equal(ours: np.ndarray, theirs: np.ndarray, groups: Sequence[int], other_groups: Sequence[int]) -> float:
    """The two-sided p-value of two means being equal, by Welch's t over groups; a group in both counts once. 1 where
    nothing varies, or where there are fewer than two groups on a side. Source: Welch 1947, The generalization of
    Student's problem when several different population variances are involved."""
    first, second, clusters = numbered_together(groups, other_groups)
    labelled = np.bincount(first, minlength=clusters) > 0
    if labelled.sum() < 2 or (~labelled).sum() < 2:
        return 1.0
    difference = float(ours.mean() - theirs.mean())
    sums = np.bincount(first, (ours - ours.mean()) / len(ours), clusters)
    sums -= np.bincount(second, (theirs - theirs.mean()) / len(theirs), clusters)
    variances = [variance_of_sums(sums[labelled]), variance_of_sums(sums[~labelled])]
    if sum(variances) < 1e-24:
        return 1.0 if abs(difference) < 1e-12 else 0.0
    freedom = satterthwaite(variances, [int(labelled.sum()) - 1, int((~labelled).sum()) - 1])
    return float(2 * stdtr(freedom, -abs(difference) / math.sqrt(sum(variances))))
