"""A dense layer whose shape differs from what the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn


class PlainLinear:
    """Builds and describes `nn.Linear`. Not a module of its own: a smaller dense layer is just a dense layer."""

    kind: ClassVar[str] = "linear"
    plain_keys: ClassVar[bool] = True

    @staticmethod
    def sizes_of(module: nn.Linear) -> dict[str, int]:
        """What `build` needs."""
        return {"inputs": module.in_features, "outputs": module.out_features, "bias": int(module.bias is not None)}

    @staticmethod
    def build(sizes: Mapping[str, int]) -> nn.Module:
        """An empty layer of these sizes, to be filled by a strict load."""
        return nn.Linear(sizes["inputs"], sizes["outputs"], bias=bool(sizes["bias"]))
