"""What each part of an encoder costs on one machine, and from that what a whole model would cost."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Curve = Mapping[int, float]


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds per example at the data's own lengths, on the recipe's runtime and in its last precision.

    teacher: the FP32 teacher, timed in the same turns as everything else. fixed: what no cutting changes: embeddings,
    head, the call itself. attention: one attention block by its number of heads, ffn: one FFN by its neurons, each with
    residual sum and normalisation, which is what is left at 0; last_attention, last_ffn: the same in the last layer.
    foreign_share: as in Latency.
    """

    teacher: float
    fixed: float
    attention: Curve
    ffn: Curve
    last_attention: Curve
    last_ffn: Curve
    foreign_share: float | None = None

    def layer(self, heads: int, neurons: int, *, last: bool) -> float:
        """Milliseconds of one layer. Between measured sizes costs lie on a line. last: no later one has attention."""
        if last:
            return at(self.last_attention, heads) + at(self.last_ffn, neurons)
        return at(self.attention, heads) + at(self.ffn, neurons)

    def predict(self, layers: Sequence[tuple[int, int]]) -> float:
        """Milliseconds of a whole model whose layers have these (heads, neurons), first to last."""
        return self.fixed + sum(self.costs(layers))

    def costs(self, layers: Sequence[tuple[int, int]]) -> list[float]:
        """Milliseconds of each layer of such a model. A layer of (0, 0) is not there."""
        attending = max((number for number, (heads, _) in enumerate(layers) if heads), default=0)
        return [
            self.layer(*sizes, last=number >= attending) if any(sizes) else 0.0 for number, sizes in enumerate(layers)
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatencyTable:
        """What `to_json` wrote."""

        def curve(name: str) -> Curve:
            return {int(size): float(cost) for size, cost in data[name].items()}

        return cls(
            teacher=data["teacher"],
            fixed=data["fixed"],
            attention=curve("attention"),
            ffn=curve("ffn"),
            last_attention=curve("last_attention"),
            last_ffn=curve("last_ffn"),
            foreign_share=data["foreign_share"],
        )


def at(curve: Curve, size: int) -> float:
    """The cost at `size`, on the line through the two nearest measured sizes. Never negative.

    A block that is there at all costs more than the line to a dropped one says, so the cost at 0 is on no line.
    """
    if size == 0:
        return curve[0]
    sizes = sorted(measured for measured in curve if measured)
    if len(sizes) == 1:
        return curve[sizes[0]]
    upper = min(max(bisect_left(sizes, size), 1), len(sizes) - 1)
    left, right = sizes[upper - 1], sizes[upper]
    slope = (curve[right] - curve[left]) / (right - left)
    return max(0.0, curve[left] + slope * (size - left))
