"""Random: the control. A criterion that does not beat it has found nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from compress.core.context import Context, LayerImportance
from compress.nn.family import layers_of


@dataclass(frozen=True, kw_only=True)
class Random:
    """No settings: the draw follows from the run's seed."""

    compares_layers: ClassVar[bool] = True

    def of(self, model: PreTrainedModel, context: Context) -> list[LayerImportance]:
        """Evenly distributed in [0, 1), for every head, neuron and layer."""
        draw = torch.Generator().manual_seed(context.seed)
        return [
            LayerImportance(
                torch.rand(layer.heads, generator=draw, dtype=torch.float64),
                torch.rand(layer.neurons, generator=draw, dtype=torch.float64),
                float(torch.rand((), generator=draw, dtype=torch.float64)),
            )
            for layer in layers_of(model)
        ]
