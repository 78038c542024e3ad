"""Which heads, neurons, blocks and layers an encoder is left with: most importance for the time that they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from compress.core.context import LayerImportance
from compress.core.latency_table import LatencyTable
from compress.ops.allocation import allocate, least_cost

# Heads and neurons that a layer is left with; (0, 0) where the layer goes.
Sizes = tuple[int, int]


@dataclass(frozen=True)
class Choice:
    """sizes: of each layer. cost: milliseconds of all layers together. value: the importance that they keep."""

    sizes: list[Sizes]
    cost: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the layers of a model may be left with.

    found: the importance of what each has now, comparable between layers. blocks: whether attention or FFN may leave a
    layer alone. neuron_multiple: FFN widths are multiples of it, or what they are now.

    The last attention keeps at least a head, and the last layer stays. A head that reads the first token sees the
    others through that attention. Without it the layer before would be as cheap, and the sum of its heads' importances,
    each small while the others are there, would sell it for far too little (benchmarks/README.md).
    """

    found: Sequence[LayerImportance]
    table: LatencyTable
    blocks: bool
    neuron_multiple: int

    @property
    def importance(self) -> float:
        """All there is."""
        return sum(float(layer.heads.sum() + layer.neurons.sum()) for layer in self.found)

    @property
    def least(self) -> float:
        """Milliseconds of the fastest choice."""
        return sum(float(costs.min()) for _, costs, _ in self._options)

    def within(self, budget: float) -> Choice:
        """The choice that keeps most importance in `budget` milliseconds. Raises ValueError where none fits."""
        _, costs, values = zip(*self._options, strict=True)
        return self._choice(allocate(costs, values, budget))

    def keeping(self, share: float) -> Choice:
        """The choice that keeps this share of all importance in the least time."""
        _, costs, values = zip(*self._options, strict=True)
        return self._choice(least_cost(costs, values, share * self.importance))

    def _choice(self, chosen: Sequence[int]) -> Choice:
        picked = [[part[option] for part in layer] for layer, option in zip(self._options, chosen, strict=True)]
        sizes, costs, values = zip(*picked, strict=True)
        return Choice(list(sizes), float(sum(costs)), float(sum(values)))

    @cached_property
    def _options(self) -> list[tuple[list[Sizes], np.ndarray, np.ndarray]]:
        """For each layer its sizes, what they cost and what they keep."""
        attending = max((number for number, layer in enumerate(self.found) if len(layer.heads)), default=-1)
        made = []
        for number, layer in enumerate(self.found):
            sizes = self._sizes(layer, attends=number == attending)
            if number not in (attending, len(self.found) - 1):
                sizes = [(0, 0), *sizes]
            heads, neurons = _kept_sums(layer.heads), _kept_sums(layer.neurons)
            costs = [self.table.layer(*size, last=number >= attending) if any(size) else 0.0 for size in sizes]
            made.append((sizes, np.array(costs), np.array([heads[k] + neurons[n] for k, n in sizes])))
        return made

    def _sizes(self, layer: LayerImportance, *, attends: bool) -> list[Sizes]:
        """attends: whether it must keep a head."""
        step, width = self.neuron_multiple, len(layer.neurons)
        heads = self._counts(len(layer.heads), range(1, len(layer.heads) + 1))
        neurons = self._counts(width, [*range(step, width, step), width])
        return [(k, n) for k in heads for n in neurons if k or (n and not attends)]

    def _counts(self, now: int, counts: Sequence[int]) -> list[int]:
        """How many may stay of what there is `now`."""
        return [0] if not now else [0, *counts] if self.blocks else list(counts)


def _kept_sums(importance: Tensor) -> np.ndarray:
    """How much the k most important together have, for k from 0."""
    ordered = importance.double().sort(descending=True).values.numpy()
    return np.concatenate([[0.0], np.cumsum(ordered)])
