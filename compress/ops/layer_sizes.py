"""Which heads, neurons, blocks and layers an encoder is left with: most importance for the time that they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from compress.core.latency_table import LatencyTable
from compress.core.words import LayerImportance
from compress.ops.allocation import allocate, least_cost

# Heads and neurons that a layer is left with; (0, 0) where the layer goes.
Sizes = tuple[int, int]
# Where a layer is, seen from the last that has attention.
BEFORE, AT, AFTER = -1, 0, 1
Allocate = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[int]]


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

    From the last layer that has attention on, a head that reads the first token needs no other, which makes those
    layers cheap. So their costs depend on which that is: it is tried for every layer, each time exactly.
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
        return min(sum(float(cost.min()) for _, cost, _ in case) for case in self._cases())

    def within(self, budget: float) -> Choice:
        """The choice that keeps most importance in `budget` milliseconds. Raises ValueError where none fits."""
        found = self._try(lambda costs, values: allocate(costs, values, budget))
        if not found:
            raise ValueError(f"the fastest choice takes {self.least}, the budget is {budget}")
        return max(found, key=lambda choice: (choice.value, -choice.cost))

    def keeping(self, share: float) -> Choice:
        """The choice that keeps this share of all importance in the least time."""
        wanted = share * self.importance
        found = self._try(lambda costs, values: least_cost(costs, values, wanted))
        return min(found, key=lambda choice: (choice.cost, -choice.value))

    def _try(self, choose: Allocate) -> list[Choice]:
        made = []
        for case in self._cases():
            sizes, costs, values = zip(*case, strict=True)
            try:
                chosen = choose(costs, values)
            except ValueError:
                continue
            cost, value = (
                sum(float(layer[option]) for layer, option in zip(given, chosen, strict=True))
                for given in (costs, values)
            )
            made.append(Choice([layer[option] for layer, option in zip(sizes, chosen, strict=True)], cost, value))
        return made

    def _cases(self) -> Iterator[list[tuple[list[Sizes], np.ndarray, np.ndarray]]]:
        """For each layer that may be the last with attention: the sizes of every layer, their costs and values."""
        numbers = range(len(self.found))
        options = [{place: self._options(number, place) for place in (BEFORE, AT, AFTER)} for number in numbers]
        for attending in numbers:
            case = [options[number][int(np.sign(number - attending))] for number in numbers]
            if all(sizes for sizes, _, _ in case):
                yield case

    def _options(self, number: int, place: int) -> tuple[list[Sizes], np.ndarray, np.ndarray]:
        """place: of the layer, seen from the last that has attention."""
        layer, final = self.found[number], number == len(self.found) - 1
        widths = [*range(self.neuron_multiple, len(layer.neurons), self.neuron_multiple), len(layer.neurons)]
        heads = self._counts(len(layer.heads), range(1, len(layer.heads) + 1))
        sizes = [(k, n) for k in heads for n in self._counts(len(layer.neurons), widths) if k or n]
        if place == AT:
            sizes = [(k, n) for k, n in sizes if k]
        elif place == AFTER:
            sizes = [(k, n) for k, n in sizes if not k]
        # The last layer stays, since the head reads it.
        if place != AT and not final:
            sizes = [(0, 0), *sizes]
        by_heads, by_neurons = _kept_sums(layer.heads), _kept_sums(layer.neurons)
        costs = [self.table.layer(*size, last=place >= AT) if any(size) else 0.0 for size in sizes]
        return sizes, np.array(costs), np.array([by_heads[k] + by_neurons[n] for k, n in sizes])

    def _counts(self, now: int, counts: Sequence[int]) -> list[int]:
        """How many may stay of what there is `now`."""
        return [0] if not now else [0, *counts] if self.blocks else list(counts)


def _kept_sums(importance: Tensor) -> np.ndarray:
    """How much the k most important together have, for k from 0."""
    ordered = importance.double().sort(descending=True).values.numpy()
    return np.concatenate([[0.0], np.cumsum(ordered)])
