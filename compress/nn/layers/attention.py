"""Attention as one operator, which the ONNX export writes as one (`compress.runtimes.onnx.export`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def attention(projections: Sequence[Tensor], mask: Tensor | None, heads: int) -> Tensor:
    """Attention of every query over all keys, head by head, with the 1/sqrt(head size) already in the queries.

    projections: queries, keys and values, each heads * size wide, side by side in the last axis of as many tensors
    (batch, length, width) as there were products: all in one, queries apart, or three. mask: None, or additive
    (batch, 1, 1, keys). Returns (batch, queries, heads * size). Source: ONNX operator Attention.
    """
    size = _inner(projections) // heads
    apart = [part.unflatten(-1, (-1, size)).transpose(1, 2) for part in projections]
    # Cut by hand: some converters cannot split into a single part.
    query, key, value = (each[:, i : i + heads] for each in apart for i in range(0, each.shape[1], heads))
    scores = query @ key.transpose(2, 3)
    if mask is not None:
        scores = scores + mask
    return (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).flatten(2)


def _shape(projections: Sequence[Tensor], mask: Tensor | None, heads: int) -> Tensor:
    return projections[0].new_empty(*projections[0].shape[:2], _inner(projections))


torch.library.custom_op("compress::attention", attention, mutates_args=()).register_fake(_shape)


def _inner(projections: Sequence[Tensor]) -> int:
    return sum(part.shape[-1] for part in projections) // 3
