"""What each part of a model costs on one machine, and from that what a whole model would cost."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

Curve = Mapping[int, float]
# By the heads or neurons of the layer, and then by rank.
Grid = Mapping[int, Curve]
# The rank of each product of a layer that is two thin ones, by its name.
Ranks = Mapping[str, int]
WHOLE: Ranks = {}


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds per example at the data's own lengths, on the recipe's runtime and in its last precision.

    teacher: the FP32 teacher, timed in the same turns as everything else. fixed: what no cutting changes: embeddings,
    head, the call itself. attention: one attention block by its number of heads, ffn: one FFN by its neurons, each with
    residual sum and normalisation, which is what is left at 0; last_attention, last_ffn: the same in a last layer that
    computes one position only, empty where the head reads more and the last layer is like any other.
    low_rank: how much more a product takes (below 0: less) as two thin ones, by its name, the heads or neurons of its
    layer, and the rank; only where it was asked for. foreign_share: as in Latency.
    disturbed: whether others made a quarter of its rounds wait, or more (of each part the fastest quarter counts), or
    None where nobody knows.

    Of a model that goes on with a text an example is a request: a prompt, read at once, and the tokens after it.
    prompt: what the same parts cost of that reading alone; the rest is the tokens'.
    together: how many times what they take alone the blocks of a whole model took; their costs say it already. None
    where no whole model was timed.
    """

    teacher: float
    fixed: float
    attention: Curve
    ffn: Curve
    last_attention: Curve
    last_ffn: Curve
    foreign_share: float | None = None
    low_rank: Mapping[str, Grid] = field(default_factory=dict)
    disturbed: bool | None = None
    prompt: LatencyTable | None = None
    together: float | None = None

    @property
    def last_is_short(self) -> bool:
        """Whether the last layer computes one position only, because the head reads no other."""
        return bool(self.last_attention)

    def layer(self, heads: int, neurons: int, *, last: bool, ranks: Ranks = WHOLE) -> float:
        """Milliseconds of one layer. Between measured sizes costs lie on a line. last: no later one has attention.
        ranks: of the products that are two thin ones."""
        if last and self.last_is_short:
            cost = at(self.last_attention, heads) + at(self.last_ffn, neurons)
        else:
            cost = at(self.attention, heads) + at(self.ffn, neurons)
        for product, rank in ranks.items():
            cost += self.thinner(product, heads if product == "attention_output" else neurons, rank)
        return cost

    def thinner(self, product: str, count: int, rank: int) -> float:
        """Milliseconds that a product of a layer of `count` heads, or neurons, takes more (below 0: less) as two thin
        ones of this rank. On lines between what was measured in both: multiply-adds grow linearly in both."""
        grid = self.low_rank[product]
        return on_line({measured: on_line(curve, rank) for measured, curve in grid.items()}, count)

    def predict(self, layers: Sequence[tuple[int, int]], ranks: Sequence[Ranks] | None = None) -> float:
        """Milliseconds of a whole model whose layers have these (heads, neurons), first to last, and these ranks."""
        return self.fixed + sum(self.costs(layers, ranks))

    def costs(self, layers: Sequence[tuple[int, int]], ranks: Sequence[Ranks] | None = None) -> list[float]:
        """Milliseconds of each layer of such a model. A layer of (0, 0) is not there. ranks: none where all products
        are whole."""
        attending = max((number for number, (heads, _) in enumerate(layers) if heads), default=0)
        thin = ranks or [WHOLE] * len(layers)
        return [
            self.layer(*sizes, last=number >= attending, ranks=thin[number]) if any(sizes) else 0.0
            for number, sizes in enumerate(layers)
        ]

    def assembled(self, layers: Sequence[tuple[int, int]], measured: float) -> LatencyTable:
        """The table with the blocks of all layers as many times as costly as makes a model of these (heads, neurons)
        cost what it was measured to, in milliseconds.

        A graph of one block over and over is at hand for the processor. In a whole model each layer has weights of its
        own and waits for what the one before it has just written, and of a large one they come from memory.
        """
        predicted, found = self.predict(layers) - self.fixed, measured - self.fixed
        # Of layers too small to be timed nothing is known that could be made larger.
        times = found / predicted if predicted > 0 and found > 0 else 1.0
        return replace(self._times(times), together=times)

    def alone(self) -> LatencyTable:
        """The table as it was before `assembled`."""
        return self if self.together is None else replace(self._times(1 / self.together), together=None)

    def _times(self, factor: float) -> LatencyTable:
        def scaled(curve: Curve) -> Curve:
            return {size: factor * cost for size, cost in curve.items()}

        return replace(
            self,
            attention=scaled(self.attention),
            ffn=scaled(self.ffn),
            last_attention=scaled(self.last_attention),
            last_ffn=scaled(self.last_ffn),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatencyTable:
        """What `to_json` wrote."""
        return cls(
            teacher=data["teacher"],
            fixed=data["fixed"],
            attention=curve_from_json(data["attention"]),
            ffn=curve_from_json(data["ffn"]),
            last_attention=curve_from_json(data["last_attention"]),
            last_ffn=curve_from_json(data["last_ffn"]),
            foreign_share=data["foreign_share"],
            disturbed=data.get("disturbed"),
            low_rank={product: grid_from_json(grid) for product, grid in data["low_rank"].items()},
            prompt=None if data.get("prompt") is None else cls.from_json(data["prompt"]),
            together=data.get("together"),
        )


def curve_from_json(data: Mapping[str, float]) -> Curve:
    """A curve whose sizes have become text."""
    return {int(size): float(cost) for size, cost in data.items()}


def grid_from_json(data: Mapping[str, Mapping[str, float]]) -> Grid:
    """A grid whose sizes have become text."""
    return {int(size): curve_from_json(curve) for size, curve in data.items()}


def at(curve: Curve, size: int) -> float:
    """The cost at `size`, on the line through the two nearest measured sizes. Never negative.

    A block that is there at all costs more than the line to a dropped one says, so the cost at 0 is on no line.
    """
    if size == 0:
        return curve[0]
    return max(0.0, on_line({measured: cost for measured, cost in curve.items() if measured}, size))


def on_line(curve: Curve, size: int) -> float:
    """The cost at `size`, on the line through the two nearest measured sizes; the same everywhere where one was."""
    sizes = sorted(curve)
    if len(sizes) == 1:
        return curve[sizes[0]]
    upper = min(max(bisect_left(sizes, size), 1), len(sizes) - 1)
    left, right = sizes[upper - 1], sizes[upper]
    slope = (curve[right] - curve[left]) / (right - left)
    return curve[left] + slope * (size - left)
