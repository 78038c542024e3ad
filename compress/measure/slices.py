"""Where a candidate loses against the teacher: by class and by length, in pairs, corrected for looking many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from compress.core.blame import Slice
from compress.core.evaluation import Evaluation
from compress.measure.statistics import chance_of_no_loss, holm, paired_interval

# Fewer say nothing, and each slice looked at makes the correction for all harsher. Chosen without looking at scores.
FEWEST = 20
LENGTH_BINS = 4


def worst_slices(
    teacher: Evaluation, candidate: Evaluation, names: Mapping[str, Sequence[str]], confidence: float
) -> list[Slice]:
    """Every slice of at least 20 examples, the largest loss first.

    names: for each way to slice, the name of every example's slice, in the order of the scores.
    """
    before = np.asarray(teacher.scores)
    differences = np.asarray(candidate.scores) - before
    found = []
    for by, slices in names.items():
        for name in dict.fromkeys(slices):
            rows = np.flatnonzero(np.asarray(slices) == name)
            if len(rows) >= FEWEST:
                found.append((by, name, rows, [candidate.groups[row] for row in rows]))
    chances = [chance_of_no_loss(differences[rows], groups, candidate.score_range) for _, _, rows, groups in found]
    slices_found = [
        Slice(
            by=by,
            name=name,
            examples=len(rows),
            teacher=float(before[rows].mean()),
            difference=float(differences[rows].mean()),
            interval=paired_interval(differences[rows], groups, candidate.score_range, confidence),
            shown=chance < 1 - confidence,
        )
        for (by, name, rows, groups), chance in zip(found, holm(chances), strict=True)
    ]
    return sorted(slices_found, key=lambda entry: entry.difference)


def length_bins(lengths: Sequence[int], count: int = LENGTH_BINS) -> list[str]:
    """For each example the name of its bin, such as `12 to 19 tokens`. Bins hold as many examples each as whole lengths
    allow."""
    values = np.asarray(lengths)
    edges = np.unique(np.quantile(values, np.arange(1, count) / count, method="lower"))
    numbers = np.searchsorted(edges, values, side="left")
    names = {}
    for number in np.unique(numbers):
        inside = values[numbers == number]
        low, high = int(inside.min()), int(inside.max())
        names[number] = f"{low} tokens" if low == high else f"{low} to {high} tokens"
    return [names[number] for number in numbers]
