"""Fused layers in training: attention that can be derived, and the hidden states that a student is compared by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.nn.family import layers_of
from compress.nn.layers.attention import attention
from compress.nn.layers.fused_layer import FusedLayer


class LearningFusedLayer(FusedLayer):
    """A fused layer whose attention is no operator of its own: no derivative is known for that one."""

    def _attention(self, projections: list[Tensor], mask: Tensor | None) -> Tensor:
        return attention(projections, mask, self.sizes.heads)


def whole_layers(model: PreTrainedModel) -> int:
    """How many layers of `model`, from the first on, give all positions: one that was fused for the first token alone,
    and those after it, give that one."""
    modules = [layer.module for layer in layers_of(model)]
    short = [isinstance(module, FusedLayer) and bool(module.sizes.first_token) for module in modules]
    return short.index(True) if True in short else len(short)


@contextmanager
def fused_layers_learn(model: PreTrainedModel) -> Iterator[None]:
    """Inside, `model` can be trained, and gives hidden states, where its layers are fused: Transformers finds those of
    its own layers only. Nothing else changes, and where none is fused nothing does."""
    layers = layers_of(model)
    fused = [layer.module for layer in layers if type(layer.module) is FusedLayer]
    states: list[Tensor] = []

    def begin(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        states[:] = [inputs[0] if inputs else named["hidden_states"]]

    def add(module: nn.Module, inputs: Any, output: Any) -> None:
        states.append(output if isinstance(output, Tensor) else output[0])

    def give(module: nn.Module, inputs: Any, output: Any) -> None:
        output.hidden_states = tuple(states)

    hooks = []
    if fused:
        hooks = [layers[0].module.register_forward_pre_hook(begin, with_kwargs=True)]
        hooks += [layer.module.register_forward_hook(add) for layer in layers]
        hooks += [model.register_forward_hook(give)]
    for module in fused:
        module.__class__ = LearningFusedLayer
    try:
        yield
    finally:
        for module in fused:
            module.__class__ = FusedLayer
        for hook in hooks:
            hook.remove()
