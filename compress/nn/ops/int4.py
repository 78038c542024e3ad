"""INT4 for tables that are looked up: rows rounded to 15 values, two of them in a byte."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LIMIT = 7
# A row's few largest values may be cut off where all others gain by it: of its largest one, in 20 steps down to half.
SHARES = tuple(1 - 0.025 * step for step in range(21))
# A byte is lower + 16 x upper, both in [-7, 7]: what is nearest to a sixteenth of it is the upper one.
BASE = 16


def quantize_rows_to_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Values in [-7, 7], and a scale for each row: of `SHARES` of its largest value / 7 the one with the least squared
    error.

    weight: (rows, columns). Returns (int8 (rows, columns), float32 scale (rows,)). A row of zeros gets scale 1.
    """
    rows = weight.float()
    largest = rows.abs().amax(dim=1, keepdim=True)
    largest = torch.where(largest > 0, largest, torch.full_like(largest, LIMIT))
    best = torch.full_like(largest, torch.inf)
    scale = torch.empty_like(largest)
    for share in SHARES:
        tried = largest * share / LIMIT
        error = (_rounded(rows, tried) * tried - rows).square().sum(dim=1, keepdim=True)
        scale = torch.where(error < best, tried, scale)
        best = torch.minimum(error, best)
    return _rounded(rows, scale).to(torch.int8), scale[:, 0]


def pack(values: Tensor) -> Tensor:
    """Two values in a byte, the first half of the columns as the lower ones.

    values: (rows, columns), integers in [-7, 7]. Returns int8 (rows, columns / 2, rounded up). Signed on both sides, so
    that a runtime takes them apart with two products and a rounding, and has no zero to subtract.
    """
    half = (values.shape[1] + 1) // 2
    lower, upper = values[:, :half].to(torch.int8), values[:, half:].to(torch.int8)
    return lower + BASE * functional.pad(upper, (0, half - upper.shape[1]))


def unpack(packed: Tensor, columns: int) -> Tensor:
    """What `pack` was given. packed: (..., columns / 2, rounded up), its bytes as floats."""
    upper = torch.round(packed * (1 / BASE))
    both = torch.cat([packed - upper * BASE, upper], dim=-1)
    # One more value than there are columns lies in the last byte of an odd number.
    return both if both.shape[-1] == columns else both[..., :columns]


def _rounded(rows: Tensor, scale: Tensor) -> Tensor:
    return torch.round(rows / scale).clamp(-LIMIT, LIMIT)
