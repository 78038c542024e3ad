"""Which setting matters: main effects of all settings at once, by least squares, with intervals."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from compress.report.sweep.factors import Factor

CONFIDENCE = 0.95
LEAST_SPARE_RUNS = 3
LEAST_RUNS_PER_LEVEL = 2


@dataclass(frozen=True)
class Effect:
    """What one setting does to one number, the other settings held even.

    share: of the sum of squares about the mean, what is lost when the setting is left out of the model. low, high: its
    levels with the lowest and the highest mean. change: high minus low; interval: of that, for all pairs of levels
    together. runs: per level. A reason stands instead where nothing can be claimed.
    """

    factor: Factor
    runs: dict[str, int]
    reason: str | None
    share: float = 0.0
    low: str = ""
    high: str = ""
    change: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)

    @property
    def clear(self) -> bool:
        """Whether the interval excludes no effect."""
        return self.reason is None and self.interval[0] > 0


def main_effects(factors: Sequence[Factor], numbers: Sequence[float | None]) -> list[Effect]:
    """One entry per factor, the largest share first, those without a claim last.

    numbers: one per run, None where not measured; those runs are left out. The model is an intercept and one constant
    per level of each setting: no setting changes what another does. What that does not explain, interactions and noise
    alike, is the error of the intervals. They are Student's, divided among the pairs of levels (Bonferroni).
    """
    used = [position for position, number in enumerate(numbers) if number is not None]
    values = np.array([numbers[position] for position in used], dtype=float)
    present = [(factor, [factor.levels[position] for position in used]) for factor in factors]
    varied = [(factor, levels) for factor, levels in present if len(set(levels)) > 1]
    model = _Model(values, [levels for _, levels in varied])
    effects = [_effect(model, factor, levels, place) for place, (factor, levels) in enumerate(varied)]
    silent = [
        Effect(factor, _counts(levels), "only one of its values has measured runs")
        for factor, levels in present
        if len(set(levels)) < 2
    ]
    return sorted(effects + silent, key=lambda effect: (effect.reason is not None, -effect.share))


class _Model:
    """Least squares on an intercept and indicator columns. Columns that follow from others do no harm."""

    def __init__(self, values: np.ndarray, columns: Sequence[Sequence[str]]) -> None:
        self.values = values
        self.blocks = [_indicators(levels) for levels in columns]
        self.matrix = self._joined(self.blocks)
        self.rank = _rank(self.matrix)
        self.spare = len(values) - self.rank
        self.error = _squares(self.matrix, values)
        self.total = _squares(np.ones((len(values), 1)), values) if len(values) else 0.0

    def without(self, place: int) -> np.ndarray:
        """The columns of all settings but one."""
        return self._joined([block for other, block in enumerate(self.blocks) if other != place])

    def contrast(self, place: int, one: int, other: int) -> tuple[float, float]:
        """Level `one` minus level `other` of a setting, and its standard error."""
        weights = np.zeros(self.matrix.shape[1])
        start = 1 + sum(block.shape[1] for block in self.blocks[:place])
        # The first level of each setting has no column: it is what the others are counted from.
        for level, sign in ((one, 1.0), (other, -1.0)):
            if level > 0:
                weights[start + level - 1] = sign
        inverse = np.linalg.pinv(self.matrix.T @ self.matrix)
        estimate = float(weights @ inverse @ self.matrix.T @ self.values)
        variance = self.error / self.spare * float(weights @ inverse @ weights)
        return estimate, float(np.sqrt(max(variance, 0.0)))

    def _joined(self, blocks: Sequence[np.ndarray]) -> np.ndarray:
        return np.hstack([np.ones((len(self.values), 1)), *blocks])


def _effect(model: _Model, factor: Factor, levels: Sequence[str], place: int) -> Effect:
    counts = _counts(levels)
    reason = _no_claim(model, counts, place)
    if reason is not None:
        return Effect(factor, counts, reason)
    names = sorted(set(levels))
    pairs = list(itertools.combinations(range(len(names)), 2))
    found = {pair: model.contrast(place, *pair) for pair in pairs}
    one, other = max(pairs, key=lambda pair: abs(found[pair][0]))
    estimate, error = found[one, other]
    high, low = (one, other) if estimate >= 0 else (other, one)
    reach = float(stdtrit(model.spare, 1 - (1 - CONFIDENCE) / 2 / len(pairs))) * error
    change = abs(estimate)
    share = (_squares(model.without(place), model.values) - model.error) / model.total
    return Effect(
        factor, counts, None, max(share, 0.0), names[low], names[high], change, (change - reach, change + reach)
    )


def _no_claim(model: _Model, counts: dict[str, int], place: int) -> str | None:
    """Why nothing can be said, if so."""
    few = [level for level, count in counts.items() if count < LEAST_RUNS_PER_LEVEL]
    if few:
        return f"too few runs: {counts[few[0]]} with {few[0]}, {LEAST_RUNS_PER_LEVEL} are the least"
    if _rank(model.without(place)) > model.rank - (len(counts) - 1):
        return "it cannot be told apart: other settings changed together with it"
    if model.spare < LEAST_SPARE_RUNS:
        needed = model.rank + LEAST_SPARE_RUNS
        return (
            f"too few runs: {len(model.values)} for {model.rank - 1} differences between values, {needed} are the least"
        )
    if model.total <= 1e-18 * max(1.0, float(np.abs(model.values).max()) ** 2):
        return "all runs came out the same"
    return None


def _counts(levels: Sequence[str]) -> dict[str, int]:
    return {level: list(levels).count(level) for level in dict.fromkeys(levels)}


def _indicators(levels: Sequence[str]) -> np.ndarray:
    names = sorted(set(levels))
    return np.array([[float(level == name) for name in names[1:]] for level in levels])


def _rank(matrix: np.ndarray) -> int:
    return int(np.linalg.matrix_rank(matrix)) if matrix.size else 0


def _squares(matrix: np.ndarray, values: np.ndarray) -> float:
    """The sum of squares that the columns leave."""
    left = values - matrix @ np.linalg.lstsq(matrix, values, rcond=None)[0]
    return float(left @ left)
