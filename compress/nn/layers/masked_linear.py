"""A dense layer with zeros that training cannot move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.nn.layers.linear import PlainLinear


class MaskedLinear(nn.Linear):
    """`nn.Linear` whose zero weights stay zero.

    The mask is where the stored weight is zero: nothing but the weight itself is saved, and any loader reads it as a
    dense layer with zeros in it. While training, the mask is applied in the forward pass, so a pruned weight gets no
    gradient, and an optimizer step from zero with no gradient and with weight decay stays at zero.
    """

    kind: ClassVar[str] = "masked_linear"
    plain_keys: ClassVar[bool] = True

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__(inputs, outputs, bias)
        self._mask: Tensor | None = None

    @classmethod
    def of(cls, linear: nn.Linear, mask: Tensor) -> MaskedLinear:
        """The layer with everything outside `mask` (out, in) set to zero."""
        layer = cls(linear.in_features, linear.out_features, linear.bias is not None)
        with torch.no_grad():
            layer.weight.copy_(linear.weight * mask)
            if linear.bias is not None:
                layer.bias.copy_(linear.bias)
        return layer.to(linear.weight.device)

    sizes_of = staticmethod(PlainLinear.sizes_of)

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """An empty layer of these sizes, to be filled by a strict load."""
        return cls(sizes["inputs"], sizes["outputs"], bool(sizes["bias"]))

    def train(self, mode: bool = True) -> MaskedLinear:
        """Fix the mask when training starts, and forget it afterwards."""
        if mode and self._mask is None:
            self._mask = self.weight.detach() != 0
        elif not mode:
            self._mask = None
        return super().train(mode)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        if self._mask is None:
            return functional.linear(inputs, self.weight, self.bias)
        return functional.linear(inputs, self.weight * self._mask.to(self.weight.device), self.bias)
