"""Weights as small integers in blocks: 32 values of a row share one scale in FP16.

Symmetric, with no zero point, so a zero stays a zero. These are the blocks of llama.cpp's Q8_0 (8 bits, -127 to 127)
and Q4_0 (4 bits, -8 to 7), and of a blocked ONNX `DequantizeLinear`: one set of integers serves all of them. The
product of such an integer and an FP16 scale has at most 18 significant bits, so every reader that scales back in FP32
gets the same weights, bit for bit. Where a row is no multiple of 32 long, its last block is shorter.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 32
LARGEST_SCALE = torch.finfo(torch.float16).max
# By bits: the integers, and what a block's largest value, as it is with its sign, becomes.
RANGES = {8: (-127, 127), 4: (-8, 7)}


def quantize_blocks(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Each value rounded to the nearest that its block's scale can express.

    weight: (rows, columns). bits: 8 or 4. Returns (int8 (rows, columns), float16 scale (rows, columns / 32, rounded
    up)). Halves go to the even neighbour. A block of zeros, or of values too small for any FP16 scale, gets scale 0.

    The scale is rounded to FP16 first, and the values to what it can express: llama.cpp, whose scales these are,
    divides by the scale as it was before, and is off by up to a 2000th of a value more.
    """
    scale = block_scales(weight, bits)
    return _rounded(weight.float(), _widened(scale, weight.shape[1]), bits).to(torch.int8), scale


def block_scales(weight: Tensor, bits: int) -> Tensor:
    """The scale of each block. weight: (rows, columns). Returns float16 (rows, columns / 32, rounded up).

    8 bits: the largest absolute value / 127. 4 bits: the value that is largest in absolute terms, with its sign, / -8,
    so that it is met exactly and all 16 integers are used; a scale may be negative.
    """
    blocks = _blocks(weight.float())
    if bits == 8:
        scale = blocks.abs().amax(dim=2) / RANGES[8][1]
    else:
        place = blocks.abs().argmax(dim=2, keepdim=True)
        scale = blocks.gather(2, place)[..., 0] / RANGES[4][0]
    return scale.clamp(-LARGEST_SCALE, LARGEST_SCALE).to(torch.float16)


def quantize_blocks_corrected(weight: Tensor, inputs_gram: Tensor, bits: int, damping: float) -> tuple[Tensor, Tensor]:
    """Rounded column by column; what each column's rounding changes in the outputs, the columns to come make good.

    weight: (rows, columns). inputs_gram: (columns, columns), the sum of x xᵀ over calibration inputs. damping: > 0, of
    the mean of its diagonal so much is added to its diagonal: the more, the less is made good. Returns what
    `quantize_blocks` does; a block's scale is that of its values when its turn comes. What was zero stays zero: it may
    have been pruned.

    With H the damped Gram matrix and U the upper Cholesky factor of its inverse, the error e of column i, divided by
    U[i, i], is taken off column j > i U[i, j] times: the change of the columns not yet rounded that least alters the
    outputs. Source: Frantar et al. 2023, GPTQ, section 3, algorithm 1.
    Raises ValueError where `damping` is not positive.
    """
    if not damping > 0:
        raise ValueError(f"damping {damping} is not greater than 0")
    upper = _inverse_root(inputs_gram, damping).to(weight.device)
    left, alive = weight.detach().double().clone(), weight != 0
    values, scales = torch.empty_like(weight, dtype=torch.int8), []
    for start in range(0, weight.shape[1], BLOCK):
        block = slice(start, min(start + BLOCK, weight.shape[1]))
        scale = block_scales(left[:, block] * alive[:, block], bits)
        factors, errors, step = upper[block, block], torch.zeros_like(left[:, block]), scale[:, 0].double()
        here = left[:, block]
        for column in range(here.shape[1]):
            rounded = _rounded(here[:, column], step, bits) * alive[:, start + column]
            errors[:, column] = (here[:, column] - rounded * step) / factors[column, column]
            here[:, column + 1 :] -= errors[:, column : column + 1] * factors[column, column + 1 :]
            values[:, start + column] = rounded.to(torch.int8)
        left[:, block.stop :] -= errors @ upper[block, block.stop :]
        scales.append(scale)
    return values, torch.cat(scales, dim=1)


def dequantize_blocks(values: Tensor, scale: Tensor) -> Tensor:
    """The weights that they stand for, exactly. values: int8 (..., columns). scale: float16 (..., columns / 32, rounded
    up). Returns float32 (..., columns)."""
    return values.to(torch.float32) * _widened(scale, values.shape[-1])


def pack_int4(values: Tensor) -> Tensor:
    """Two values in a byte, the first as its lower four bits, in two's complement: as ONNX stores INT4.

    values: integers in [-8, 7], of any shape. Returns uint8 (half as many, rounded up): rows run on into each other.
    """
    flat = values.flatten().to(torch.int16) & 15
    pairs = functional.pad(flat, (0, len(flat) % 2)).reshape(-1, 2)
    return (pairs[:, 0] | pairs[:, 1] << 4).to(torch.uint8)


def unpack_int4(packed: Tensor, rows: int, columns: int) -> Tensor:
    """What `pack_int4` was given, as int8 (rows, columns)."""
    pairs = torch.stack([packed & 15, packed >> 4], dim=1).to(torch.int8)
    signed = torch.where(pairs > 7, pairs - 16, pairs)
    return signed.flatten()[: rows * columns].reshape(rows, columns)


def block_count(columns: int) -> int:
    """How many blocks there are in a row of so many values."""
    return -(-columns // BLOCK)


def _inverse_root(gram: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the damped Gram matrix's inverse, float64."""
    total = gram.double()
    # Where no input came at all, every error counts the same and none can be made good.
    strength = (damping * total.diagonal().mean()).clamp(min=1e-300)
    scaled = total / strength + torch.eye(len(total), dtype=torch.float64, device=total.device)
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(scaled)), upper=True)


def _rounded(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    low, high = RANGES[bits]
    # What a scale of 0 stands for is zero, whatever the integer.
    steps = weight / torch.where(scale == 0, torch.inf, scale)
    return torch.round(steps).clamp(low, high)


def _widened(scale: Tensor, columns: int) -> Tensor:
    """Each block's scale for each of its columns, float32."""
    return scale.to(torch.float32).repeat_interleave(BLOCK, dim=-1)[..., :columns]


def _blocks(weight: Tensor) -> Tensor:
    """(rows, blocks, 32), with zeros behind a last block that is shorter."""
    rows, columns = weight.shape
    padded = functional.pad(weight, (0, block_count(columns) * BLOCK - columns))
    return padded.reshape(rows, -1, BLOCK)
