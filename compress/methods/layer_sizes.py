"""What an encoder is left with: the heads, neurons, ranks, blocks and layers with most importance for their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from compress.core.context import LayerImportance, ProductImportance
from compress.core.latency_table import LatencyTable, Ranks, at
from compress.methods.allocation import allocate, front, least_cost
from compress.nn.ops.low_rank import break_even_rank

# Heads and neurons that a layer is left with; (0, 0) where the layer goes.
Sizes = tuple[int, int]
# The products that may become two thin ones, by the block they are in. Query, key and value are fused into one.
ATTENTION_PRODUCTS, FFN_PRODUCTS = ("attention_output",), ("ffn_in", "ffn_out")


@dataclass(frozen=True)
class Choice:
    """sizes: of each layer. ranks: of the products of each layer that are two thin ones. cost: milliseconds of all
    layers together. value: the importance that they keep."""

    sizes: list[Sizes]
    ranks: list[Ranks]
    cost: float
    value: float


@dataclass(frozen=True)
class Options:
    """What may be left of a block, or a layer: each option's milliseconds, the importance that it keeps, and what it
    is: heads, neurons, and ranks by product (0 where it is whole)."""

    costs: np.ndarray
    values: np.ndarray
    counts: Mapping[str, np.ndarray]

    def best(self) -> Options:
        """Those that no other one beats, by rising cost."""
        return self.picked(front(self.costs, self.values))

    def picked(self, which: np.ndarray) -> Options:
        """These of them."""
        return Options(
            self.costs[which], self.values[which], {name: counts[which] for name, counts in self.counts.items()}
        )

    @classmethod
    def together(cls, every: Sequence[Options]) -> Options:
        """All of these, one after the other. What one of them does not count is 0 there."""
        names = dict.fromkeys(name for options in every for name in options.counts)
        counts = {
            name: np.concatenate([options.counts.get(name, np.zeros(len(options.costs), int)) for options in every])
            for name in names
        }
        costs, values = ([getattr(options, name) for options in every] for name in ("costs", "values"))
        return cls(np.concatenate(costs), np.concatenate(values), counts)

    def beside(self, others: Options) -> Options:
        """Every pair of one of these and one of the others."""
        ours, theirs = (index.ravel() for index in np.indices((len(self.costs), len(others.costs))))
        left, right = self.picked(ours), others.picked(theirs)
        return Options(left.costs + right.costs, left.values + right.values, {**left.counts, **right.counts})


GONE = Options(np.zeros(1), np.zeros(1), {})


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the layers of a model may be left with.

    found: the importance of what each has now, comparable between layers. A product whose components' importance it
    holds may become two thin ones. blocks: whether attention or FFN may leave a layer alone. neuron_multiple: FFN
    widths and ranks are multiples of it; widths may also be what they are now.
    keeps_first: whether the first layer must stay.

    The last attention keeps at least a head, and the last layer stays. A head that reads the first token sees the
    others through that attention. Without it the layer before would be as cheap, and the sum of its heads' importances,
    each small while the others are there, would sell it for far too little (benchmarks/README.md). Where the head reads
    one position, products stay whole from that layer on: they are computed for that one.
    """

    found: Sequence[LayerImportance]
    table: LatencyTable
    blocks: bool
    neuron_multiple: int
    keeps_first: bool = False

    @property
    def importance(self) -> float:
        """All there is."""
        return sum(float(layer.heads.sum() + layer.neurons.sum()) for layer in self.found)

    @property
    def least(self) -> float:
        """Milliseconds of the fastest choice."""
        return sum(float(options.costs.min()) for options in self._options)

    def within(self, budget: float) -> Choice:
        """The choice that keeps most importance in `budget` milliseconds. Raises ValueError where none fits."""
        costs, values = zip(*((options.costs, options.values) for options in self._options), strict=True)
        return self._choice(allocate(costs, values, budget))

    def keeping(self, share: float) -> Choice:
        """The choice that keeps this share of all importance in the least time."""
        costs, values = zip(*((options.costs, options.values) for options in self._options), strict=True)
        return self._choice(least_cost(costs, values, share * self.importance))

    def _choice(self, chosen: Sequence[int]) -> Choice:
        picked = list(zip(self._options, chosen, strict=True))
        counts = [{name: int(values[i]) for name, values in options.counts.items()} for options, i in picked]
        return Choice(
            [(layer.get("heads", 0), layer.get("neurons", 0)) for layer in counts],
            [
                {name: layer[name] for name in (*ATTENTION_PRODUCTS, *FFN_PRODUCTS) if layer.get(name)}
                for layer in counts
            ],
            float(sum(options.costs[i] for options, i in picked)),
            float(sum(options.values[i] for options, i in picked)),
        )

    @cached_property
    def _options(self) -> list[Options]:
        """For each layer what it may be left with, but for what something faster keeps as much as."""
        attending = max((number for number, layer in enumerate(self.found) if len(layer.heads)), default=-1)
        made = []
        for number, layer in enumerate(self.found):
            last = self.table.last_is_short and number >= attending
            attention, ffn = self._attention(layer, last=last), self._ffn(layer, last=last)
            options = attention.beside(ffn)
            heads, neurons = options.counts["heads"], options.counts["neurons"]
            options = options.picked(np.flatnonzero((heads > 0) | ((neurons > 0) & (number != attending))))
            if number not in (attending, len(self.found) - 1) and not (number == 0 and self.keeps_first):
                options = Options.together([GONE, options])
            made.append(options.best())
        return made

    def _attention(self, layer: LayerImportance, *, last: bool) -> Options:
        """What the attention may be left with."""
        curve, kept = self.table.last_attention if last else self.table.attention, _kept_sums(layer.heads)
        products = {} if last else {name: layer.products[name] for name in ATTENTION_PRODUCTS if name in layer.products}
        made = [self._block("heads", k, at(curve, k), kept, products) for k in range(1, len(layer.heads) + 1)]
        return self._of_block("heads", made, at(curve, 0))

    def _ffn(self, layer: LayerImportance, *, last: bool) -> Options:
        """What the FFN may be left with."""
        curve, kept = self.table.last_ffn if last else self.table.ffn, _kept_sums(layer.neurons)
        products = {} if last else {name: layer.products[name] for name in FFN_PRODUCTS if name in layer.products}
        step, width = self.neuron_multiple, len(layer.neurons)
        counts = [*range(step, width, step), width] if width else []
        made = [self._block("neurons", n, at(curve, n), kept, products) for n in counts]
        return self._of_block("neurons", made, at(curve, 0))

    def _of_block(self, what: str, made: Sequence[Options], dropped: float) -> Options:
        """All of these that are worth their time, and the block's leaving where it may, or has left already."""
        nothing = Options(np.array([dropped]), np.zeros(1), {what: np.zeros(1, dtype=int)})
        if not made:
            return nothing
        options = Options.together(made).best()
        # Added only then: the two blocks of a layer may not leave both, and what one of them beats is needed there.
        return Options.together([nothing, options]) if self.blocks else options

    def _block(
        self, what: str, count: int, cost: float, kept: np.ndarray, products: Mapping[str, ProductImportance]
    ) -> Options:
        """A block with so many heads or neurons, whole and at every rank. kept: see _kept_sums."""
        options = Options(np.array([cost]), kept[[count]], {what: np.array([count])})
        for name, product in products.items():
            # Nothing is known of what such narrow products would save.
            if count < min(self.table.low_rank[name]):
                continue
            even = break_even_rank(product.hidden, count * product.unit)
            ranks = np.array([0, *range(self.neuron_multiple, even + 1, self.neuron_multiple)])
            more = [self.table.thinner(name, count, rank) if rank else 0.0 for rank in ranks.tolist()]
            lost = np.concatenate([[0.0], rank_losses(product, count / (len(kept) - 1), ranks[1:])])
            options = options.beside(Options(np.array(more), -lost, {name: ranks})).best()
        return options


def rank_losses(product: ProductImportance, share: float, ranks: np.ndarray) -> np.ndarray:
    """The importance that a product loses at each of these ranks, each at most its number of components.

    share: of the heads or neurons of its layer, those that stay. What a product of fewer of them would lose nobody
    knows before the cut. It is taken to lose that share of what the whole one loses at the same rank: as many of the
    errors are made, and of the others it has more room for. Where nothing is cut, that is what was measured.
    How far that holds: benchmarks/README.md.
    """
    kept = np.concatenate([[0.0], np.cumsum(product.components.double().numpy())])
    return share * (kept[-1] - kept[ranks])


def _kept_sums(importance: Tensor) -> np.ndarray:
    """How much the k most important together have, for k from 0."""
    ordered = importance.double().sort(descending=True).values.numpy()
    return np.concatenate([[0.0], np.cumsum(ordered)])
