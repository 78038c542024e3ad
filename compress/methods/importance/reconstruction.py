"""Reconstruction: what the other heads and neurons of a layer cannot make good matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.checks import require_integer, require_positive
from compress.core.context import Context, LayerImportance
from compress.methods.training.calibration import show_examples
from compress.nn.family import Layer, layers_of, output_projections
from compress.nn.ops.reconstruction import elimination_errors

# Judging the rest anew after every single neuron of 1,536 takes seconds a layer.
NEURONS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """examples: training examples shown. ridge: see elimination_errors.

    Meant for a cut that is refitted: two neurons that do the same are worth little, and the second one is worth much
    once the first is gone. A layer matters as much as all that it adds to the hidden states.
    """

    examples: int
    ridge: float

    compares_layers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_integer("importance.examples", self.examples, 1, "Use 256, for example.")
        require_positive("importance.ridge", self.ridge, "Use 0.01, for example.")

    def of(self, model: PreTrainedModel, context: Context) -> list[LayerImportance]:
        """Squared errors of a layer's output without each head and neuron, the rest refitted."""
        layers = layers_of(model)
        modules = output_projections(layers)
        grams: dict[str, Tensor] = {}

        def add(path: str, inputs: Tensor) -> None:
            # A last input of 1 sums up the inputs and counts the positions.
            x = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
            grams[path] = grams.get(path, 0) + (x.T @ x).double()

        shown = show_examples(model, context, modules, self.examples, add)
        context.note(f"importance from {shown} examples (reconstruction)")

        def errors(layer: Layer, part: str, width: int, at_once: int) -> Tensor:
            if part not in layer.parts:
                return torch.zeros(0, dtype=torch.float64)
            gram = grams[layer.path_of(part)]
            # What is constant is left to the bias, where there is one.
            gram = gram[:-1, :-1] if layer.part(part).bias is None else _centred(gram)
            return elimination_errors(layer.weight(part), gram, width, self.ridge, at_once)

        found = []
        for layer in layers:
            heads = errors(layer, "attention_output", layer.head_width, 1)
            neurons = errors(layer, "ffn_out", 1, NEURONS_AT_ONCE)
            whole = sum(float(values.amax()) for values in (heads, neurons) if len(values))
            found.append(LayerImportance(heads, neurons, whole))
        return found


def _centred(gram: Tensor) -> Tensor:
    """The Gram matrix of the inputs less their means, from the one with an input of 1 at the end."""
    sums, positions = gram[:-1, -1], gram[-1, -1]
    return gram[:-1, :-1] - torch.outer(sums, sums) / positions
