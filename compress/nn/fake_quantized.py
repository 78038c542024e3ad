"""Layers in training that compute with the integers they will be stored as (fake quantization).

Each stands in the place of a layer of `compress.nn.layers` while a model learns, holds the float weights behind the
integers, and gives the layer that is stored: with the very integers and scales of its last forward pass. None is a kind
that a checkpoint can name. Source: Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, section 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.nn.layers import Int8BlockLinear, Int8DynamicLinear, Int8StaticLinear, TiedBlockHead
from compress.nn.ops.blocks import RANGES
from compress.nn.ops.int8 import dynamic_scale
from compress.nn.ops.straight_through import (
    integers_in_blocks,
    integers_of_inputs,
    integers_of_rows,
    stored_scale,
    widened,
)

# How far from the middle of its integer's cell a weight begins at most, in steps: rounding must not tip over.
EDGE = 0.49


class FakeQuantized(nn.Module, ABC):
    """What all have. A weight that is 0 at first was pruned, and stays 0."""

    def __init__(self, weight: Tensor, bias: Tensor | None, pruned: Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        # A checkpoint of a training need not hold it: whoever goes on with it begins from the same weights.
        self.register_buffer("pruned", pruned if bool(pruned.any()) else None, persistent=False)
        self.pruned: Tensor | None

    @abstractmethod
    def stored(self) -> nn.Module:
        """The layer of integers that computes what this one does."""

    @property
    def living(self) -> Tensor:
        """The weights, (out, in), zero where they were pruned."""
        return self.weight if self.pruned is None else self.weight.masked_fill(self.pruned, 0)


class FakeQuantizedBlocks(FakeQuantized):
    """For `Int8BlockLinear` and `Int4BlockLinear`: weights and the scales of their blocks are learned.

    A scale is what it was at first times the exponential of `growth`, (out, blocks), which begins at 0: so a step
    changes it by a share of itself, about the learning rate with Adam, and it keeps its sign.
    """

    def __init__(self, layer: Int8BlockLinear, linear: nn.Linear) -> None:
        weight = linear.weight.detach().float()
        super().__init__(_inside_cells(weight, layer), linear.bias, weight == 0)
        self._kind, self.bits = type(layer), layer.bits
        self.register_buffer("first_scale", layer.weight_scale.float())
        self.first_scale: Tensor
        self.growth = nn.Parameter(torch.zeros_like(self.first_scale))

    @property
    def scale(self) -> Tensor:
        """Of each block, (out, blocks), as it is stored."""
        return stored_scale(self.first_scale * self.growth.exp())

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        scale = self.scale
        weight = integers_in_blocks(self.living, scale, self.bits) * widened(scale, self.in_features)
        return functional.linear(inputs, weight, self.bias)

    @torch.no_grad()
    def stored(self) -> Int8BlockLinear:
        """See FakeQuantized."""
        scale = self.scale
        values = integers_in_blocks(self.living, scale, self.bits)
        return self._kind.from_blocks(values.to(torch.int8), scale.half(), self.bias)


class FakeQuantizedInt8(FakeQuantized):
    """For `Int8DynamicLinear` and `Int8StaticLinear`: weights are learned, and a row's scale follows from them; the
    inputs' scale is found anew for each batch, or stays fixed, as it is in use. bits: see `quantize_rows`."""

    def __init__(self, layer: Int8DynamicLinear, linear: nn.Linear, bits: int) -> None:
        weight = linear.weight.detach().float()
        super().__init__(weight.clone(), linear.bias, weight == 0)
        self._layer, self.bits = (layer,), bits

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        given = inputs.float()
        scale, zero_point = self._range(given.detach())
        integers, weight_scale = integers_of_rows(self.living, self.bits)
        # Integers up to 256 are exact in bfloat16 too: mixed precision takes nothing from them.
        sums = functional.linear(integers_of_inputs(given, scale, zero_point), integers)
        found = sums.float() * (scale * weight_scale)
        # As precise as any product is where precision is mixed: some models take the type of one for that of all.
        return (found if self.bias is None else found + self.bias).to(sums.dtype)

    @torch.no_grad()
    def stored(self) -> Int8DynamicLinear:
        """See FakeQuantized."""
        (layer,) = self._layer
        values, scale = integers_of_rows(self.living.cpu(), self.bits)
        layer.weight_int8.copy_(values.T)
        layer.weight_scale.copy_(scale)
        if self.bias is not None:
            layer.bias.copy_(self.bias)
        return layer

    def _range(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        (layer,) = self._layer
        if isinstance(layer, Int8StaticLinear):
            return layer.input_scale.to(inputs.device), layer.input_zero_point.to(inputs)
        return dynamic_scale(inputs)


class FrozenTiedHead(nn.Module):
    """For `TiedBlockHead`: the same table, which stays as it is, in an operator that can be trained through."""

    def __init__(self, head: TiedBlockHead) -> None:
        super().__init__()
        self._head = (head,)
        self.register_buffer("weight", head.table.weight, persistent=False)
        self.weight: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        return functional.linear(inputs, self.weight)

    def stored(self) -> TiedBlockHead:
        """The head that it stands for."""
        return self._head[0]


def _inside_cells(weight: Tensor, layer: Int8BlockLinear) -> Tensor:
    """The values nearest to `weight` that round to the layer's integers, none of them beyond the ends of these.

    So training begins from these integers, which may be corrected ones, and yet knows which are nearest to another.
    """
    low, high = RANGES[layer.bits]
    scale = widened(layer.weight_scale.float(), layer.in_features)
    integers = layer.values.to(weight)
    steps = weight / torch.where(scale == 0, torch.inf, scale)
    inside = torch.minimum(torch.maximum(steps, integers - EDGE), integers + EDGE).clamp(low, high)
    return torch.where(scale == 0, weight, inside * scale)
