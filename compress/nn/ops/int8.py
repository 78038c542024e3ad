"""INT8 arithmetic, exactly as ONNX defines it, so that a model computes the same in torch and in an exported graph.

Weights are symmetric (zero point 0) per output channel. Activations are unsigned with a zero point, one scale for the
whole tensor. Products are summed in 32-bit integers. Source: ONNX operators DynamicQuantizeLinear, QuantizeLinear and
MatMulInteger.
"""

from __future__ import annotations

import torch
from torch import Tensor


def quantize_rows(weight: Tensor, bits: int = 8) -> tuple[Tensor, Tensor]:
    """INT8 values in [-127, 127], or [-63, 63] with 7 bits, and a scale for each row.

    weight: (rows, columns). Returns (int8 (rows, columns), float32 scale (rows,)). A row of zeros gets scale 1.
    A zero stays exactly zero, so a pruned weight stays pruned.

    7 bits: x86 processors without VNNI add two products of an unsigned and a signed byte in 16 bits, which
    255 x 127 + 255 x 127 exceeds and 255 x 63 + 255 x 63 does not.
    """
    limit = 2 ** (bits - 1) - 1
    largest = weight.float().abs().amax(dim=1)
    scale = torch.where(largest > 0, largest / limit, torch.ones_like(largest))
    values = torch.round(weight.float() / scale[:, None]).clamp(-limit, limit)
    return values.to(torch.int8), scale


def dynamic_scale(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point (float, integral, 0..255) of a tensor, as `DynamicQuantizeLinear` finds them."""
    return scale_of_range(inputs.amin(), inputs.amax())


def scale_of_range(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point that map [min(low, 0), max(high, 0)] to 0..255. An empty range gets scale 1."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return scale, torch.round(-low / scale).clamp(0, 255)


def scale_around_zero(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point that map [-m, m] to 1..255 with 0 at 128, where m is the larger of -low and high: so many
    steps on both sides. An empty range gets scale 1."""
    scale = torch.maximum(-low, high) / 127
    return torch.where(scale > 0, scale, torch.ones_like(scale)), torch.full_like(scale, 128)


def int8_product(inputs: Tensor, scale: Tensor, zero_point: Tensor, weight: Tensor) -> Tensor:
    """Quantize `inputs` and multiply by `weight`, summed exactly in 32-bit integers.

    inputs: (..., in) float. scale, zero_point: scalars. weight: int8 (in, out). Returns int32 (..., out).
    """
    # torch multiplies signed by signed, ONNX unsigned by signed: both sides of the subtraction move by 128.
    shifted = (torch.round(inputs / scale) + zero_point).clamp(0, 255) - 128
    rows = shifted.to(torch.int8).reshape(-1, inputs.shape[-1])
    # Of a single column torch's own product is wrong on some processors.
    sums = torch._int_mm(rows, weight) if len(weight) > 1 else rows.int() * weight.int()
    sums = sums - (zero_point.to(torch.int32) - 128) * weight.sum(dim=0, dtype=torch.int32)
    return sums.reshape(*inputs.shape[:-1], weight.shape[1])
