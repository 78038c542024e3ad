"""Where a candidate loses against the teacher: by class and by length, in pairs, corrected for looking many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from compress.core.blame import Slice
from compress.core.evaluation import Evaluation
from compress.core.metric import Metric
from compress.measure.statistics import estimate, holm

# Fewer say nothing, and each slice looked at makes the correction for all harsher. Chosen without looking at scores.
FEWEST = 20
LENGTH_BINS = 4


def worst_slices(
    teacher: Evaluation, candidate: Evaluation, metric: Metric, names: Mapping[str, Sequence[str]], confidence: float
) -> list[Slice]:
    """Every slice of at least 20 examples, the largest loss first.

    names: for each way to slice, the name of every example's slice, in the order of the statistics.
    """
    before, after = np.asarray(teacher.statistics), np.asarray(candidate.statistics)
    found = []
    for by, slices in names.items():
        for name in dict.fromkeys(slices):
            rows = np.flatnonzero(np.asarray(slices) == name)
            if len(rows) >= FEWEST:
                groups = [candidate.groups[row] for row in rows]
                found.append((by, name, rows, estimate(before[rows], after[rows], groups, metric)))
    chances = [difference.chance_of_no_loss() for _, _, _, difference in found]
    slices_found = [
        Slice(
            by=by,
            name=name,
            examples=len(rows),
            teacher=metric.value(before[rows]),
            difference=difference.difference,
            interval=difference.interval(confidence),
            shown=chance < 1 - confidence,
        )
        for (by, name, rows, difference), chance in zip(found, holm(chances), strict=True)
    ]
    return sorted(slices_found, key=lambda entry: entry.difference)


def length_bins(lengths: Sequence[int], unit: str, count: int = LENGTH_BINS) -> list[str]:
    """For each example the name of its bin, such as `12 to 19 tokens`. Bins hold as many examples each as whole lengths
    allow. unit: what lengths count."""
    values = np.asarray(lengths)
    edges = np.quantile(values, np.arange(1, count) / count, method="lower")
    numbers = np.searchsorted(edges, values, side="left")
    names = {}
    for number in np.unique(numbers):
        inside = values[numbers == number]
        low, high = int(inside.min()), int(inside.max())
        names[number] = f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
    return [names[number] for number in numbers]
