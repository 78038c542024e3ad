"""LayerScale: the weights by which what a block gives is multiplied, put into the projection before them."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from compress.nn.family import layers_of
from compress.nn.layers.low_rank_linear import LowRankLinear


@torch.no_grad()
def fold_scales(model: PreTrainedModel) -> None:
    """Multiply the scale of every block into its output projection, in place, and leave a scale of ones.

    s * (W x + b) is (s W) x + s b: the same function up to rounding. What is fitted, decomposed or fused afterwards is
    then what is added to the hidden states.
    """
    for layer in layers_of(model):
        for name in ("attention_output", "ffn_out"):
            scale = layer.scale(name) if name in layer.parts else None
            if scale is None:
                continue
            module = layer.part(name)
            last = module.up if isinstance(module, LowRankLinear) else module
            assert isinstance(last, nn.Linear)
            last.weight.mul_(scale[:, None])
            if last.bias is not None:
                last.bias.mul_(scale)
            scale.fill_(1.0)
