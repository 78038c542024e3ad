"""Weights as GGUF stores them: our integers in its order, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from compress.core.errors import InputError
from compress.nn.layers import Int4BlockLinear, Int8BlockEmbedding, Int8BlockLinear, MaskedLinear
from compress.nn.ops.blocks import BLOCK

Form = Literal["F32", "Q8_0", "Q4_0"]
WAY_OUT = "Quantize with stage/quantize@stages.quantize=blocks, or not at all."


@dataclass(frozen=True)
class Stored:
    """form: as GGUF names it. data: float32, or for the others uint8 (rows, bytes of a row)."""

    form: Form
    data: np.ndarray


def stored_matrix(path: str, module: nn.Module, order: Tensor | None = None) -> Stored:
    """A dense layer's or a table's weights. path: for messages. order: of the rows, as they are where None.

    Raises InputError for a kind of layer, or a length of rows, that GGUF has no form for.
    """
    if type(module) in (nn.Linear, MaskedLinear) or isinstance(module, nn.Embedding):
        weight = module.weight
        assert isinstance(weight, Tensor)
        return stored_float(weight if order is None else weight[order])
    if not isinstance(module, Int8BlockLinear | Int8BlockEmbedding):
        raise InputError(f"{path} is a {type(module).__name__}, which GGUF has no form for. {WAY_OUT}")
    values = module.weight_blocks if isinstance(module, Int8BlockEmbedding) else module.values
    if values.shape[1] % BLOCK:
        raise InputError(
            f"{path} has rows of {values.shape[1]} weights, and GGUF's are whole blocks of {BLOCK}. Leave it in float "
            f"(stages.quantize.keep_float), or cut to a multiple of {BLOCK}."
        )
    scale = module.weight_scale
    if order is not None:
        values, scale = values[order], scale[order]
    four = isinstance(module, Int4BlockLinear)
    return Stored("Q4_0", q4_0(values, scale)) if four else Stored("Q8_0", q8_0(values, scale))


def stored_float(values: Tensor) -> Stored:
    """In FP32."""
    return Stored("F32", values.detach().cpu().float().numpy())


def q8_0(values: Tensor, scale: Tensor) -> np.ndarray:
    """Each block: its FP16 scale, then 32 signed bytes. values: int8 (rows, columns). scale: float16 (rows, blocks).
    Returns uint8 (rows, 34 * blocks)."""
    blocks = values.unflatten(1, (-1, BLOCK)).contiguous().view(torch.uint8)
    return _with_scales(blocks, scale)


def q4_0(values: Tensor, scale: Tensor) -> np.ndarray:
    """Each block: its FP16 scale, then 16 bytes, of which byte i holds value i in its lower half and value i + 16 in
    its upper one, both moved up by 8. As above; returns uint8 (rows, 18 * blocks)."""
    moved = (values.unflatten(1, (-1, 2, BLOCK // 2)) + 8).to(torch.uint8)
    return _with_scales(moved[:, :, 0] | moved[:, :, 1] << 4, scale)


def _with_scales(blocks: Tensor, scale: Tensor) -> np.ndarray:
    """blocks: uint8 (rows, blocks, bytes)."""
    scales = scale.contiguous().view(torch.uint8).unflatten(1, (-1, 2))
    return torch.cat([scales, blocks], dim=2).flatten(1).cpu().numpy()
