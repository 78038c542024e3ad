"""Dense layers that hold their weights as integers in blocks of 32 and compute with what these stand for.

The arithmetic is one custom operator for each number of bits, which `torch.export` keeps whole, so that the ONNX export
writes it as the standard operators it was defined by (`compress.runtimes.onnx.export`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.nn.ops.blocks import block_count, dequantize_blocks, pack_int4, quantize_blocks, unpack_int4


def int8_block_linear(inputs: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    """inputs: (..., in) float. weight: int8 (out, in). weight_scale: float16 (out, blocks). Returns (..., out)."""
    return functional.linear(inputs, dequantize_blocks(weight, weight_scale), bias)


def int4_block_linear(inputs: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    """As above; weight: uint8 (out * in / 2), two values in a byte."""
    values = unpack_int4(weight, weight_scale.shape[0], inputs.shape[-1])
    return functional.linear(inputs, dequantize_blocks(values, weight_scale), bias)


def _shape(inputs: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    return inputs.new_empty(*inputs.shape[:-1], weight_scale.shape[0])


torch.library.custom_op("compress::int8_block_linear", int8_block_linear, mutates_args=()).register_fake(_shape)
torch.library.custom_op("compress::int4_block_linear", int4_block_linear, mutates_args=()).register_fake(_shape)


class Int8BlockLinear(nn.Module):
    """Int8 weights (out, in), an FP16 scale (out, in / 32) for each block of a row."""

    kind: ClassVar[str] = "int8_block_linear"
    plain_keys: ClassVar[bool] = False
    bits: ClassVar[int] = 8

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.register_buffer("weight_blocks", self._stored(torch.zeros(outputs, inputs, dtype=torch.int8)))
        self.register_buffer("weight_scale", torch.zeros(outputs, block_count(inputs), dtype=torch.float16))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)
        self.weight_blocks: Tensor
        self.weight_scale: Tensor
        self.bias: Tensor | None

    @classmethod
    def of(cls, linear: nn.Linear) -> Self:
        """Round a dense layer's weights to the nearest values."""
        return cls.from_blocks(*quantize_blocks(linear.weight.detach(), cls.bits), linear.bias)

    @classmethod
    def from_blocks(cls, values: Tensor, scale: Tensor, bias: Tensor | None) -> Self:
        """values: int8 (out, in). scale: float16 (out, blocks). bias: (out,) or None."""
        outputs, inputs = values.shape
        layer = cls(inputs, outputs, bias is not None)
        layer.weight_blocks.copy_(cls._stored(values))
        layer.weight_scale.copy_(scale)
        if layer.bias is not None and bias is not None:
            layer.bias.copy_(bias.detach())
        return layer

    @staticmethod
    def sizes_of(module: Int8BlockLinear) -> dict[str, int]:
        """What `build` needs."""
        return {
            "inputs": module.in_features,
            "outputs": module.out_features,
            "bias": int(module.bias is not None),
        }

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """An empty layer of these sizes, to be filled by a strict load."""
        return cls(sizes["inputs"], sizes["outputs"], bool(sizes["bias"]))

    @property
    def values(self) -> Tensor:
        """The integers: int8 (out, in)."""
        return self.weight_blocks

    @property
    def weight(self) -> Tensor:
        """What they stand for: float32 (out, in)."""
        return dequantize_blocks(self.values, self.weight_scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        return torch.ops.compress.int8_block_linear(inputs, self.weight_blocks, self.weight_scale, self.bias)

    @staticmethod
    def _stored(values: Tensor) -> Tensor:
        """The integers as they are stored."""
        return values


class Int4BlockLinear(Int8BlockLinear):
    """Int4 weights, two in a byte, an FP16 scale (out, in / 32) for each block of a row."""

    kind: ClassVar[str] = "int4_block_linear"
    bits: ClassVar[int] = 4

    @property
    def values(self) -> Tensor:
        """The integers: int8 (out, in), in [-8, 7]."""
        return unpack_int4(self.weight_blocks, self.out_features, self.in_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        return torch.ops.compress.int4_block_linear(inputs, self.weight_blocks, self.weight_scale, self.bias)

    @staticmethod
    def _stored(values: Tensor) -> Tensor:
        return pack_int4(values)
