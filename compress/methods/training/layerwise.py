"""A model layer by layer: what each is called with, and one of them run alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from compress.core.context import Context
from compress.core.signature import Signature
from compress.methods.training.calibration import chosen_rows
from compress.nn.family import Layer, family_of, layers_of
from compress.nn.forward import forward, position_mask

Look = Callable[[nn.Module, tuple[Tensor, ...]], None]
BATCH = 16
# What a layer is called with besides the hidden states.
Call = tuple[tuple[Any, ...], Mapping[str, Any]]


class Reached(Exception):  # noqa: N818 - it is no error, it ends a forward pass
    """What was to be seen has been seen: nothing after it is needed."""


def layer_calls(model: PreTrainedModel, signature: Signature, batch: Mapping[str, Any]) -> tuple[Tensor, list[Call]]:
    """What the first layer receives, and what each layer is called with besides."""
    layers = layers_of(model)
    # Where the layers are of several types, each may get another mask.
    looked_at = layers if family_of(model.config).layer_lists else layers[:1]
    states: list[Tensor] = []
    calls: list[Call] = []

    def look(module: nn.Module, values: tuple, named: dict[str, Any]) -> None:
        states.append(values[0])
        # A cache of keys and values would grow with every call.
        calls.append((values[1:], {name: None if name == "past_key_values" else named[name] for name in named}))
        if len(calls) == len(looked_at):
            raise Reached

    model.eval()
    hooks = [layer.module.register_forward_pre_hook(look, with_kwargs=True) for layer in looked_at]
    try:
        forward(model, signature, batch)
    except Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return states[0], calls if len(calls) == len(layers) else calls * len(layers)


def run_layer(layer: Layer, states: Tensor, call: Call) -> Tensor:
    """The hidden states that a layer gives. states: (rows, length, hidden)."""
    rest, named = call
    output = layer.module(states, *rest, **named)
    return output if isinstance(output, Tensor) else output[0]


@torch.no_grad()
def layer_grams(
    model: PreTrainedModel, context: Context, wanted: Collection[str], examples: int
) -> Iterator[dict[str, Tensor]]:
    """Layer by layer, the Gram matrix (width, width) in float64 of the inputs of each dense layer inside, by path: the
    sum of x xᵀ over the positions of `examples` training examples that are no padding.

    wanted: paths; others are left out. What has been replaced when the next layer is asked for is what its inputs come
    from. So only one layer's matrices are held at a time, and the model runs twice, however many layers it has.
    """
    states, calls, masks = [], [], []
    for batch in _batches(context, examples):
        signature = context.task.signature(model.config)
        first, named = layer_calls(model, signature, batch)
        states.append(first)
        calls.append(named)
        masks.append(position_mask(signature, batch))
    for number, layer in enumerate(tqdm(layers_of(model), "rounding", unit="layer", leave=False)):
        inside = {f"{layer.path}.{name}": module for name, module in layer.module.named_modules()}
        grams: dict[str, Tensor] = {}
        for state, call, mask in zip(states, calls, masks, strict=True):
            hooks = [
                module.register_forward_pre_hook(_adding(grams, path, mask))
                for path, module in inside.items()
                if path in wanted and isinstance(module, nn.Linear)
            ]
            try:
                run_layer(layer, state, call[number])
            finally:
                for hook in hooks:
                    hook.remove()
        yield grams
        states = [run_layer(layer, state, call[number]) for state, call in zip(states, calls, strict=True)]


def _batches(context: Context, examples: int) -> Iterator[Mapping[str, Any]]:
    lengths = list(context.train["length"])
    # Similar lengths together, so that little is padding.
    order = sorted(chosen_rows(context.seed, len(lengths), examples), key=lambda row: lengths[row])
    for start in range(0, len(order), BATCH):
        yield context.collate([context.train[row] for row in order[start : start + BATCH]])


def _adding(grams: dict[str, Tensor], path: str, mask: Tensor | None) -> Look:
    def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given = inputs[0].detach()
        # Some products see no positions of the examples, but such as all of them share.
        real = given[mask.to(given.device)] if mask is not None and given.shape[:2] == mask.shape else given
        rows = real.reshape(-1, given.shape[-1])
        gram = (rows.T @ rows).double().cpu()
        grams[path] = grams[path] + gram if path in grams else gram

    return add
