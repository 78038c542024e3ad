"""Magnitude: what has large weights matters. Sees no example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from compress.core.context import Context, LayerImportance
from compress.nn.family import PARTS, head_size, layers_of
from compress.nn.ops.importance import head_magnitude, neuron_magnitude, total_magnitude


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """No settings: the weights are all there is. A layer matters as much as the norm of all its weights."""

    compares_layers: ClassVar[bool] = False

    def of(self, model: PreTrainedModel, context: Context) -> list[LayerImportance]:
        """Norms of the weights of each head, neuron and layer."""
        found = []
        for layer in layers_of(model):
            weights = {part: layer.weight(part) for part in layer.parts}
            heads = neurons = torch.zeros(0, dtype=torch.float64)
            if layer.heads:
                query, key, value, output = (weights[part] for part in PARTS[:4])
                heads = head_magnitude(query, key, value, output, head_size(model))
            if layer.neurons:
                neurons = neuron_magnitude(weights["ffn_in"], weights["ffn_out"])
            found.append(LayerImportance(heads, neurons, total_magnitude(list(weights.values()))))
        return found
