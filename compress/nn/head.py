"""What a model's head reads of the last layer: found from the model, whatever it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.signature import Signature
from compress.nn.family import layers_of
from compress.nn.forward import forward, position_mask

if TYPE_CHECKING:
    from compress.core.context import Context

# Where in each row: at its first position, at its last real one, or at all of them (or more than one).
Reads = Literal["first", "last", "all"]
PROBED = 8


def head_reads(model: PreTrainedModel, context: Context) -> Reads:
    """What the head of `model` reads, on a few training examples."""
    rows = [context.train[row] for row in range(min(PROBED, len(context.train)))]
    return positions_read(model, context.task.signature(model.config), context.collate(rows))


def positions_read(model: PreTrainedModel, signature: Signature, batch: Mapping[str, Any]) -> Reads:
    """Which positions of the last layer's output the model's output depends on.

    batch: a few rows, of more than one position each, or nothing can be told from it. A head that reads the first
    position of some rows and the last of others reads `all`.
    """
    read, mask = positions_mattering(model, signature, batch), position_mask(signature, batch)
    real = torch.ones_like(read) if mask is None else mask.to(read.device)
    read, places = read & real, torch.arange(read.shape[1], device=read.device)
    last = real.sum(dim=1, keepdim=True) - 1
    if bool((read == (places == 0)).all()):
        return "first"
    return "last" if bool((read == (places == last)).all()) else "all"


def positions_mattering(model: PreTrainedModel, signature: Signature, batch: Mapping[str, Any]) -> Tensor:
    """(rows, positions), True where the output changes with the last layer's. A backward pass through the head alone.

    What is derived is a sum of the outputs with weights drawn at random: a plain sum is constant for an output that is
    normalised, and so is one of squares.
    """
    leaves: list[Tensor] = []

    def restart(module: nn.Module, inputs: tuple, output: Any) -> Any:
        leaves.append((output if isinstance(output, Tensor) else output[0]).detach().requires_grad_())
        return leaves[0] if isinstance(output, Tensor) else (leaves[0], *output[1:])

    hook = layers_of(model)[-1].module.register_forward_hook(restart)
    try:
        with torch.enable_grad():
            output = forward(model.eval(), signature, batch).output
            weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
            (gradient,) = torch.autograd.grad((output * weights).sum(), leaves)
    finally:
        hook.remove()
    return gradient.abs().sum(dim=-1) > 0
