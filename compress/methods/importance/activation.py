"""Activation-weighted magnitude: what adds much to the hidden states on real inputs matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.checks import require_integer
from compress.core.context import Context, LayerImportance
from compress.methods.training.calibration import show_examples
from compress.nn.family import Layer, layers_of, output_projections
from compress.nn.ops.importance import column_contribution, per_head


@dataclass(frozen=True, kw_only=True)
class ActivationMagnitude:
    """examples: training examples shown.

    A column of an output projection matters as much as the mean size of what it adds: the norm of its weights times
    the root mean square of its input (Sun et al. 2023, A Simple and Effective Pruning Approach for Large Language
    Models, taken per column). A head or a layer is all of its columns together.
    """

    examples: int

    compares_layers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_integer("importance.examples", self.examples, 1, "Use 128, for example.")

    def of(self, model: PreTrainedModel, context: Context) -> list[LayerImportance]:
        """Root mean squares of what each head, neuron and layer adds to the hidden states."""
        layers = layers_of(model)
        modules = output_projections(layers)
        squares = {path: torch.zeros((), dtype=torch.float64) for path in modules}
        positions = dict.fromkeys(modules, 0)

        def add(path: str, inputs: Tensor) -> None:
            squares[path] = squares[path] + inputs.double().pow(2).sum(dim=0)
            positions[path] += len(inputs)

        def contribution(layer: Layer, part: str) -> Tensor:
            if part not in layer.parts:
                return torch.zeros(0, dtype=torch.float64)
            path = layer.path_of(part)
            return column_contribution(layer.weight(part), squares[path] / positions[path])

        shown = show_examples(model, context, modules, self.examples, add)
        context.note(f"importance from {shown} examples (activation-weighted magnitude)")
        found = []
        for layer in layers:
            attention, ffn = (contribution(layer, part) for part in ("attention_output", "ffn_out"))
            heads = per_head(attention.pow(2), layer.head_width)
            found.append(LayerImportance(heads.sqrt(), ffn, float(heads.sum() + ffn.pow(2).sum()) ** 0.5))
        return found
