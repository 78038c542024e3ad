"""Rounding that can be trained through: what is stored goes forward, derivatives pass as if nothing had been rounded.

Source: Bengio, Léonard and Courville 2013, Estimating or Propagating Gradients Through Stochastic Neurons, section 3.1,
the straight-through estimator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from compress.nn.ops.blocks import BLOCK, LARGEST_SCALE, RANGES
from compress.nn.ops.int8 import quantize_rows


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(values: Tensor, stored: Tensor) -> Tensor:
        return stored.view_as(stored)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Nothing is kept: the derivative is 1."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def straight_through(values: Tensor, stored: Tensor) -> Tensor:
    """`stored`, bit for bit, with the derivative of `values`. Both of one shape and type.

    `values + (stored - values).detach()` would be off in the last bit.
    """
    found: Tensor = _StraightThrough.apply(values, stored)
    return found


def stored_scale(scale: Tensor) -> Tensor:
    """The nearest FP16 numbers to float32 scales, as float32; the derivative is 1."""
    return straight_through(scale, scale.detach().clamp(-LARGEST_SCALE, LARGEST_SCALE).half().float())


def integers_in_blocks(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """The integers nearest to `weight`, for training weights and scales of their blocks.

    weight: float32 (rows, columns). scale: float32 (rows, columns / 32, rounded up), of each block of a row, numbers
    that FP16 has. bits: 8 or 4. Returns float32 (rows, columns), 0 where the scale is.

    With v = weight / scale, rounded and cut off at both ends of the integers, the derivative of integers times scale by
    a weight is 1 between the ends and 0 beyond; that by a scale is round(v) - v between them, and the end beyond.
    Source: Esser et al. 2020, Learned Step Size Quantization, equations 3 and 5.
    """
    low, high = RANGES[bits]
    # What a scale of 0 stands for is zero, whatever the integer.
    steps = weight / widened(torch.where(scale == 0, torch.inf, scale), weight.shape[-1])
    return straight_through(steps, torch.round(steps.detach())).clamp(low, high)


def widened(scale: Tensor, columns: int) -> Tensor:
    """Each block's scale for each of its columns."""
    return scale.repeat_interleave(BLOCK, dim=-1)[..., :columns]


def integers_of_rows(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """What `quantize_rows` gives, for training weights: its integers as float32 (rows, columns), with the derivative of
    the weights in steps, and its scale (rows,), which is found anew from the weights and has none.

    Source: Jacob et al. 2018, Quantization and Training of Neural Networks, section 3.
    """
    values, scale = quantize_rows(weight.detach(), bits)
    return straight_through(weight / scale[:, None], values.float()), scale


def integers_of_inputs(inputs: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Inputs rounded to uint8, less their zero point, as `int8_product` multiplies them, to be trained through.

    inputs: (..., in) float32. scale, zero_point: scalars, which have no derivative. Returns float32 (..., in), with the
    derivative of the inputs in steps, 0 for those beyond the range.
    """
    steps = inputs / scale
    rounded = straight_through(steps, torch.round(steps.detach()))
    return (rounded + zero_point).clamp(0, 255) - zero_point
