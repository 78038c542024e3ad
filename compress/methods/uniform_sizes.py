"""What a model is left with whose layers all have one size, so that its configuration alone says what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from compress.core.latency_table import Curve, at
from compress.methods.layer_sizes import Choice, Choices


@dataclass(frozen=True)
class _Sums:
    """For every number of layers that may stay beside those that must, from 0, and every pair of heads and neurons:
    milliseconds and importance of all layers, (numbers, heads, neurons); and of those that may stay, which layers they
    are, the most important first, (layers, heads, neurons)."""

    costs: np.ndarray
    values: np.ndarray
    order: np.ndarray


@dataclass(frozen=True, kw_only=True)
class UniformChoices(Choices):
    """As Choices, but every layer that stays keeps as many heads, and as many neurons, as every other.

    whole_heads: whether layers keep all of their heads, because the configuration of the model could not say that there
    are fewer. Blocks do not leave alone, and products stay whole. Layers that may leave cost the same, as the last one
    alone may be short and must stay: so for each pair of heads and neurons those with most importance stay, and with
    all pairs gone through the choice is exact.
    """

    whole_heads: bool

    @property
    def least(self) -> float:
        """Milliseconds of the fastest choice."""
        return float(self._sums.costs[np.isfinite(self._sums.values)].min())

    def within(self, budget: float) -> Choice:
        """The choice that keeps most importance in `budget` milliseconds, of equals the fastest. Raises ValueError
        where none fits."""
        sums = self._sums
        fits = np.isfinite(sums.values) & (sums.costs <= budget * (1 + 1e-12))
        if not fits.any():
            raise ValueError(f"the fastest choice costs {self.least}, the budget is {budget}")
        most = sums.values[fits].max()
        return self._choice_at(np.where(fits & (sums.values == most), sums.costs, np.inf))

    def keeping(self, share: float) -> Choice:
        """The choice that keeps this share of all importance in the least time."""
        wanted = share * self.importance
        # A hair of slack for rounding.
        enough = self._sums.values >= wanted - abs(wanted) * 1e-9
        if not enough.any():
            raise ValueError(f"layers of one size keep {self._sums.values.max()}, wanted are {wanted}")
        return self._choice_at(np.where(enough, self._sums.costs, np.inf))

    def _choice_at(self, costs: np.ndarray) -> Choice:
        """The cheapest of these, and of equals the one that keeps most."""
        cheapest = np.where(costs == costs.min(), self._sums.values, -np.inf)
        beside, heads, neurons = np.unravel_index(int(np.argmax(cheapest)), cheapest.shape)
        staying = {*self._required, *self._sums.order[:beside, heads, neurons].tolist()}
        size = int(self._heads[heads]), int(self._neurons[neurons])
        return Choice(
            [size if number in staying else (0, 0) for number in range(len(self.found))],
            [{} for _ in self.found],
            float(self._sums.costs[beside, heads, neurons]),
            float(self._sums.values[beside, heads, neurons]),
        )

    @property
    def _required(self) -> list[int]:
        """The layers that must stay: the last one, and where the family needs it the first."""
        last = len(self.found) - 1
        return sorted({0, last} if self.keeps_first else {last})

    @cached_property
    def _heads(self) -> np.ndarray:
        most = max(len(layer.heads) for layer in self.found)
        return np.array([most]) if self.whole_heads else np.arange(1, most + 1)

    @cached_property
    def _neurons(self) -> np.ndarray:
        """Multiples, and the widths that there are."""
        widths = {len(layer.neurons) for layer in self.found}
        return np.array(sorted(widths | {*range(self.neuron_multiple, max(widths), self.neuron_multiple)}))

    @cached_property
    def _sums(self) -> _Sums:
        table, last = self.table, len(self.found) - 1
        short = table.last_is_short
        cost = _costs(table.attention, table.ffn, self._heads, self._neurons)
        at_end = _costs(table.last_attention, table.last_ffn, self._heads, self._neurons) if short else cost
        values = np.stack([self._values(number) for number in range(last + 1)])
        must = self._required
        may = [number for number in range(last + 1) if number not in must]
        order = np.argsort(-values[may], axis=0, kind="stable") if may else np.zeros((0, *cost.shape), dtype=int)
        sorted_values = np.take_along_axis(values[may], order, axis=0) if may else np.zeros((0, *cost.shape))
        kept = np.concatenate([np.zeros((1, *cost.shape)), np.cumsum(sorted_values, axis=0)])
        beside = np.arange(len(may) + 1)[:, None, None]
        return _Sums(
            costs=at_end + (len(must) - 1 + beside) * cost,
            values=kept + values[must].sum(axis=0),
            order=np.array(may, dtype=int)[order] if may else order,
        )

    def _values(self, number: int) -> np.ndarray:
        """The importance that one layer keeps with each pair, (heads, neurons); -inf where it has fewer."""
        layer = self.found[number]
        return _kept(layer.heads, self._heads)[:, None] + _kept(layer.neurons, self._neurons)[None]


def _costs(attention: Curve, ffn: Curve, heads: Sequence[int] | np.ndarray, neurons: np.ndarray) -> np.ndarray:
    """Milliseconds of a layer with each pair of these heads and neurons."""
    of_heads, of_neurons = (
        np.array([at(curve, int(count)) for count in counts]) for curve, counts in ((attention, heads), (ffn, neurons))
    )
    return of_heads[:, None] + of_neurons[None]


def _kept(importance: Tensor, counts: np.ndarray) -> np.ndarray:
    """What the most important together have, for each of these counts; -inf where there are not as many."""
    ordered = importance.double().sort(descending=True).values.numpy()
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    return np.array([sums[count] if count < len(sums) else -np.inf for count in counts])
