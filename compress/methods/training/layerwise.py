"""A model layer by layer: what each is called with, and one of them run alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.signature import Signature
from compress.nn.family import Layer, family_of, layers_of
from compress.nn.forward import forward

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
