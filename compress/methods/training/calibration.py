"""Showing a model some training examples and looking at what its layers receive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.context import Context
from compress.nn.forward import forward
from compress.nn.ops.low_rank import WhitenedDecomposition, whitened_decomposition

Look = Callable[[str, Tensor], None]


def show_examples(
    model: PreTrainedModel, context: Context, layers: Mapping[str, nn.Module], count: int, look: Look
) -> int:
    """Run `count` training examples (fewer where there are fewer), one at a time, so that nothing is padding.

    `look(path, inputs)` is called for each layer with its inputs as (positions, width), on the CPU. Returns the number
    of examples shown.
    """
    chosen, signature = chosen_rows(context.seed, len(context.train), count), context.task.signature(model.config)
    model.eval()
    with torch.no_grad(), _looking(layers, look):
        for row in chosen:
            forward(model, signature, context.collate([context.train[row]]))
    return len(chosen)


def input_grams(
    model: PreTrainedModel, context: Context, layers: Mapping[str, nn.Module], count: int
) -> dict[str, Tensor]:
    """For each layer the Gram matrix of its inputs, (width, width) in float64: the sum of x xᵀ over the positions of
    `count` training examples."""
    grams: dict[str, Tensor] = {}

    def add(path: str, inputs: Tensor) -> None:
        if path not in grams:
            grams[path] = torch.zeros(inputs.shape[1], inputs.shape[1], dtype=torch.float64)
        grams[path] += (inputs.T @ inputs).double()

    show_examples(model, context, layers, count, add)
    return grams


def decompositions(
    model: PreTrainedModel, context: Context, layers: Mapping[str, nn.Linear], count: int
) -> Iterator[tuple[str, WhitenedDecomposition]]:
    """Each layer's path and its weights decomposed for what it is given on `count` training examples, one at a time:
    together they may take more memory than the model."""
    grams = input_grams(model, context, layers, count)
    for path, module in layers.items():
        yield path, whitened_decomposition(module.weight.detach().cpu(), grams[path])


def chosen_rows(seed: int, total: int, count: int) -> list[int]:
    """The numbers of `count` of `total` training examples (of all, where there are fewer), drawn by the seed."""
    return [int(row) for row in np.random.default_rng(seed).permutation(total)[:count]]


@contextmanager
def _looking(layers: Mapping[str, nn.Module], look: Look) -> Iterator[None]:
    def hook_for(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, inputs: look(path, inputs[0].detach().reshape(-1, inputs[0].shape[-1]).cpu())

    hooks = [module.register_forward_pre_hook(hook_for(path)) for path, module in layers.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
