"""Two thin dense layers in place of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn


class LowRankLinear(nn.Module):
    """outputs = up(down(inputs)): `down` (rank, in) without a bias, `up` (out, rank) with the original one."""

    kind: ClassVar[str] = "low_rank"
    plain_keys: ClassVar[bool] = False

    def __init__(self, inputs: int, outputs: int, rank: int, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features, self.rank = inputs, outputs, rank
        self.has_bias = bias
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=bias)

    @classmethod
    def of(cls, up: Tensor, down: Tensor, bias: Tensor | None) -> LowRankLinear:
        """up: (out, rank). down: (rank, in). bias: (out,) or None."""
        layer = cls(down.shape[1], up.shape[0], up.shape[1], bias is not None)
        with torch.no_grad():
            layer.up.weight.copy_(up)
            layer.down.weight.copy_(down)
            if bias is not None:
                layer.up.bias.copy_(bias)
        return layer

    @staticmethod
    def sizes_of(module: LowRankLinear) -> dict[str, int]:
        """What `build` needs."""
        return {
            "inputs": module.in_features,
            "outputs": module.out_features,
            "rank": module.rank,
            "bias": int(module.has_bias),
        }

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """An empty layer of these sizes, to be filled by a strict load."""
        return cls(sizes["inputs"], sizes["outputs"], sizes["rank"], bool(sizes["bias"]))

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        return self.up(self.down(inputs))
