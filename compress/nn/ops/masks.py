"""Which values to keep. Every mask is boolean, True = keep, and ties keep the earlier value."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def count_kept(total: int, share: float, multiple: int = 1) -> int:
    """How many of `total` to keep for `share` in (0, 1]: rounded to the nearest `multiple`, at least one multiple
    (or all of them, where `total` is smaller), at most `total`. A share of 1 keeps all, whatever the multiple."""
    if share == 1:
        return total
    kept = round(total * share / multiple) * multiple
    return min(total, max(kept, multiple))


def strongest(importance: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest values of `importance` (n,), in ascending order of index."""
    order = torch.argsort(importance, descending=True, stable=True)
    return order[:count].sort().values


def keep_mask(weight: Tensor, share: float) -> Tensor:
    """Keep the `share` of values that are largest by magnitude, over the whole tensor."""
    flat = weight.abs().flatten()
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[strongest(flat, count_kept(flat.numel(), share))] = True
    return mask.reshape(weight.shape)


def keep_masks_globally(weights: Sequence[Tensor], share: float) -> list[Tensor]:
    """Keep the `share` of values that are largest by magnitude over all tensors together: one threshold for all."""
    joined = keep_mask(torch.cat([weight.flatten() for weight in weights]), share)
    parts = joined.split([weight.numel() for weight in weights])
    return [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]


def n_of_m_mask(weight: Tensor, n: int, m: int) -> Tensor:
    """Keep the `n` largest of every `m` consecutive values along the input axis.

    weight: (out, in), `in` a multiple of `m`. Source: Mishra et al. 2021, Accelerating Sparse Deep Neural Networks
    (2:4). Raises ValueError where `in` is not a multiple of `m`.
    """
    if weight.shape[1] % m:
        raise ValueError(f"input width {weight.shape[1]} is not a multiple of {m}")
    groups = weight.abs().reshape(weight.shape[0], -1, m)
    order = torch.argsort(groups, dim=-1, descending=True, stable=True)
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., :n], True)
    return mask.reshape(weight.shape)
