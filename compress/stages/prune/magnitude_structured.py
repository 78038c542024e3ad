"""Structured magnitude pruning: the weakest heads, neurons and layers leave the model, which is then really smaller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.checks import require_at_least, require_choice, require_fraction, require_integer
from compress.core.words import Context
from compress.models.family import PARTS, Layer, head_size, layers_of
from compress.models.surgery import keep_heads, keep_layers, keep_neurons, tell_config
from compress.ops.importance import head_magnitude, neuron_magnitude, total_magnitude
from compress.ops.masks import count_kept, strongest
from compress.ops.schedules import share_left
from compress.training.gradual import Gradual, cut_and_recover
from compress.training.imitation import Imitation, inherited


@dataclass(frozen=True, kw_only=True)
class PruneStructured:
    """heads, neurons, layers: shares kept, in (0, 1].

    scope: `layer` keeps the same share in each layer; `model` ranks all layers together, each layer's importance
    relative to its own mean, and keeps at least one head and one block of neurons in each. neuron_multiple: FFN widths
    are rounded to multiples of it, because kernels work in blocks. recovery_epochs: passes of distillation afterwards.
    gradual: heads and neurons leave in several cuts, with a part of that distillation between them; layers at once.
    """

    heads: float
    neurons: float
    layers: float
    scope: str
    neuron_multiple: int
    recovery_epochs: float
    gradual: Gradual
    imitation: Imitation

    leaves: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[Mapping[str, str]] = {
        "int8": "int8 weights cannot be trained or cut; prune before quantizing",
        "low_rank": "the factors of a factorized layer have no heads or neurons of their own; prune before factorizing",
    }

    def __post_init__(self) -> None:
        for name in ("heads", "neurons", "layers"):
            require_fraction(f"stages.prune.{name}", getattr(self, name), f"Use 0.5 to keep half of the {name}.")
        require_choice("stages.prune.scope", self.scope, ("layer", "model"))
        require_integer("stages.prune.neuron_multiple", self.neuron_multiple, 1, "Use 8, for example.")
        require_at_least("stages.prune.recovery_epochs", self.recovery_epochs, 0, "Use 0 for no recovery.")

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The smaller model, recovered by distillation where asked."""
        before = len(layers_of(model))
        importance = torch.tensor([total_magnitude(_weights(layer)) for layer in layers_of(model)])
        kept = strongest(importance, count_kept(before, self.layers)).tolist()
        if len(kept) < before:
            keep_layers(model, kept)
        heads = sum(layer.heads for layer in layers_of(model))
        neurons = sum(layer.neurons for layer in layers_of(model))

        def cut(progress: float) -> list[int]:
            """Shares are of what there was at first; the methods below take them of what is left."""
            left = sum(layer.heads for layer in layers_of(model)), sum(layer.neurons for layer in layers_of(model))
            self._cut_heads(model, share_left(self.heads, progress) * heads / left[0])
            self._cut_neurons(model, share_left(self.neurons, progress) * neurons / left[1])
            tell_config(model)
            return inherited(kept, before, len(layers_of(context.teacher)))

        settings, epochs = self.imitation, self.recovery_epochs
        title = "recovery after pruning"
        cut_and_recover(model, context, self.gradual, cut, imitation=settings, epochs=epochs, title=title)
        for layer in layers_of(model):
            context.note(f"{layer.path}: {layer.heads} heads, {layer.neurons} neurons")
        return model

    def _cut_heads(self, model: PreTrainedModel, share: float) -> None:
        size = head_size(model)
        layers = layers_of(model)
        importance = [
            head_magnitude(query, key, value, output, size)
            for query, key, value, output, *_ in (_weights(layer) for layer in layers)
        ]
        for layer, kept in zip(layers, self._kept(importance, share, 1), strict=True):
            if len(kept) < layer.heads:
                keep_heads(model, layer, kept)

    def _cut_neurons(self, model: PreTrainedModel, share: float) -> None:
        layers = layers_of(model)
        importance = [neuron_magnitude(layer.weight("ffn_in"), layer.weight("ffn_out")) for layer in layers]
        for layer, kept in zip(layers, self._kept(importance, share, self.neuron_multiple), strict=True):
            if len(kept) < layer.neurons:
                keep_neurons(model, layer, kept)

    def _kept(self, importance: list[Tensor], share: float, multiple: int) -> list[Tensor]:
        if self.scope == "layer":
            return [strongest(values, count_kept(len(values), share, multiple)) for values in importance]
        relative = torch.cat([values / values.mean().clamp(min=1e-12) for values in importance])
        chosen = torch.zeros(len(relative), dtype=torch.bool)
        chosen[strongest(relative, count_kept(len(relative), share))] = True
        counts = [int(part.sum()) for part in chosen.split([len(values) for values in importance])]
        return [
            strongest(values, count_kept(len(values), max(count, 1) / len(values), multiple))
            for values, count in zip(importance, counts, strict=True)
        ]


def _weights(layer: Layer) -> list[Tensor]:
    return [layer.weight(part) for part in PARTS]
