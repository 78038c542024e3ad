"""Dense layers that hold int8 weights and compute in integers.

The arithmetic is one custom operator for each form, which `torch.export` keeps whole, so that the ONNX export writes it
as the standard operators it was defined by (`compress.runtimes.onnx.export`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from compress.nn.ops.int8 import dynamic_scale, int8_product, quantize_rows


def int8_dynamic_linear(inputs: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor) -> Tensor:
    """inputs: (..., in) float, quantized by their own range. weight: int8 (in, out). Returns (..., out) float."""
    scale, zero_point = dynamic_scale(inputs)
    return int8_product(inputs, scale, zero_point, weight).to(inputs.dtype) * (scale * weight_scale) + bias


def int8_static_linear(
    inputs: Tensor, input_scale: Tensor, input_zero_point: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor
) -> Tensor:
    """As above, with the scale () and zero point () of the inputs fixed by calibration. zero point: uint8."""
    sums = int8_product(inputs, input_scale, input_zero_point.to(inputs.dtype), weight)
    return sums.to(inputs.dtype) * (input_scale * weight_scale) + bias


def _shape_of_dynamic(inputs: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor) -> Tensor:
    return inputs.new_empty(*inputs.shape[:-1], weight.shape[1])


def _shape_of_static(
    inputs: Tensor, input_scale: Tensor, input_zero_point: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor
) -> Tensor:
    return inputs.new_empty(*inputs.shape[:-1], weight.shape[1])


torch.library.custom_op("compress::int8_dynamic_linear", int8_dynamic_linear, mutates_args=()).register_fake(
    _shape_of_dynamic
)
torch.library.custom_op("compress::int8_static_linear", int8_static_linear, mutates_args=()).register_fake(
    _shape_of_static
)


class Int8DynamicLinear(nn.Module):
    """Int8 weights (in, out); the scale of the inputs is found anew for each batch.

    The bias is always present (zeros where the dense layer had none), so that one operator serves both.
    """

    kind: ClassVar[str] = "int8_dynamic_linear"
    plain_keys: ClassVar[bool] = False

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        # (in, out), the layout that MatMulInteger multiplies by.
        self.register_buffer("weight_int8", torch.zeros(inputs, outputs, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs))
        self.weight_int8: Tensor
        self.weight_scale: Tensor
        self.bias: Tensor

    @classmethod
    def of(cls, linear: nn.Linear, bits: int = 8) -> Self:
        """Quantize a dense layer's weights. bits: see `quantize_rows`."""
        layer = cls(linear.in_features, linear.out_features)
        values, scale = quantize_rows(linear.weight.detach(), bits)
        layer.weight_int8.copy_(values.T)
        layer.weight_scale.copy_(scale)
        if linear.bias is not None:
            layer.bias.copy_(linear.bias.detach())
        return layer

    @staticmethod
    def sizes_of(module: Int8DynamicLinear) -> dict[str, int]:
        """What `build` needs."""
        return {"inputs": module.in_features, "outputs": module.out_features}

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """An empty layer of these sizes, to be filled by a strict load."""
        return cls(sizes["inputs"], sizes["outputs"])

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        return torch.ops.compress.int8_dynamic_linear(inputs, self.weight_int8, self.weight_scale, self.bias)


class Int8StaticLinear(Int8DynamicLinear):
    """Int8 weights (in, out); the scale of the inputs was fixed by calibration."""

    kind: ClassVar[str] = "int8_static_linear"

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("input_scale", torch.ones(()))
        self.register_buffer("input_zero_point", torch.zeros((), dtype=torch.uint8))
        self.input_scale: Tensor
        self.input_zero_point: Tensor

    def fix_inputs(self, scale: Tensor, zero_point: Tensor) -> Self:
        """Set the inputs' scale and zero point (integral, 0..255), both scalars."""
        self.input_scale.copy_(scale)
        self.input_zero_point.copy_(zero_point.to(torch.uint8))
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        return torch.ops.compress.int8_static_linear(
            inputs, self.input_scale, self.input_zero_point, self.weight_int8, self.weight_scale, self.bias
        )
