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
# Where the largest value of a block may lie, in 8 steps.
SHARES = tuple(1 + step / 80 for step in range(-9, 10))


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

    8 bits: the largest absolute value / 127. 4 bits: of the scales at which the value that is largest in absolute
    terms, with its sign, lies at -7.1 to -8.9 steps, the one whose integers fit best, and fitted to these by least
    squares. The largest value gets the side that has one integer more, so a scale may be negative.
    Source: llama.cpp, `make_qx_quants`, with equal weights.
    """
    blocks = _blocks(weight.float())
    scale = blocks.abs().amax(dim=2) / RANGES[8][1] if bits == 8 else _best_fit(blocks)
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
    upper = _inverse_root(inputs_gram, damping).to(weight)
    # A column is a row here, so that what is worked on lies together in memory.
    left, alive = weight.detach().float().T.contiguous(), (weight != 0).T.contiguous()
    values, scales = torch.empty_like(left), []
    for start in range(0, len(left), BLOCK):
        here, living, factors = left[start : start + BLOCK], alive[start : start + BLOCK], upper[start : start + BLOCK]
        scale = block_scales((here * living).T, bits)
        step, errors = scale[:, 0].float(), torch.empty_like(here)
        for column in range(len(here)):
            place = start + column
            values[place] = _rounded(here[column], step, bits) * living[column]
            errors[column] = (here[column] - values[place] * step) / factors[column, place]
            here[column + 1 :].addr_(factors[column, place + 1 : start + len(here)], errors[column], alpha=-1)
        left[start + BLOCK :].addmm_(factors[:, start + BLOCK :].T, errors, alpha=-1)
        scales.append(scale)
    return values.T.to(torch.int8).contiguous(), torch.cat(scales, dim=1)


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


def _best_fit(blocks: Tensor) -> Tensor:
    """For 4 bits: blocks (rows, blocks, 32). Returns (rows, blocks)."""
    low, high = RANGES[4]
    largest = blocks.gather(2, blocks.abs().argmax(dim=2, keepdim=True))
    steps = blocks * torch.where(largest == 0, 0, low / largest)
    best = torch.zeros_like(largest[..., 0])
    scale = torch.zeros_like(best)
    for share in SHARES:
        tried = torch.round(steps * share).clamp(low, high)
        # Of all multiples of these integers fit / size is the nearest, and this much nearer than zero.
        fit, size = (blocks * tried).sum(dim=2), tried.square().sum(dim=2).clamp(min=1)
        gained = fit.square() / size
        scale = torch.where(gained > best, fit / size, scale)
        best = torch.maximum(gained, best)
    return scale


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
