"""Magnitude: what has large weights matters. Sees no example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from compress.core.context import Context, LayerImportance
from compress.nn.family import Layer, layers_of
from compress.nn.ops.importance import head_magnitude, neuron_magnitude, total_magnitude


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """No settings: the weights are all there is. A layer matters as much as the norm of all its weights."""

    compares_layers: ClassVar[bool] = False

    def of(self, model: PreTrainedModel, context: Context) -> list[LayerImportance]:
        """Norms of the weights of each head, neuron and layer."""
        found = []
        for layer in layers_of(model):
            heads = neurons = torch.zeros(0, dtype=torch.float64)
            if layer.heads:
                heads = head_magnitude(_of_each_head(layer), layer.weight("attention_output"), layer.heads)
            if layer.neurons:
                neurons = neuron_magnitude(layer.weights_of("neurons"), layer.weight("ffn_out"))
            whole = total_magnitude([layer.weight(part) for part in layer.parts])
            found.append(LayerImportance(heads, neurons, whole))
        return found


def _of_each_head(layer: Layer) -> list[torch.Tensor]:
    """Keys and values belong to no head where all share the same."""
    shared = [] if layer.family.shares_all(layer.config) else layer.weights_of("shared")
    return [*layer.weights_of("heads"), *shared]
