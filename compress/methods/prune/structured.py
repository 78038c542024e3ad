"""Structured pruning: the heads, neurons and layers that matter least leave the model, which is then really smaller."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.blame import Milder, Setback
from compress.core.checks import (
    require_at_least,
    require_choice,
    require_fraction,
    require_integer,
    require_positive,
)
from compress.core.context import Context, LayerImportance
from compress.core.errors import InputError
from compress.core.stage import StageDefaults, Training
from compress.core.words import Importance
from compress.methods.prune.cutting import UNCUTTABLE, sizes_left, tell_uneven
from compress.methods.training.calibration import chosen_rows
from compress.methods.training.gradual import Gradual, cut_and_recover
from compress.methods.training.imitation import Imitation
from compress.methods.training.layer_map import inherited
from compress.methods.training.refit import refit, require_refittable
from compress.nn.family import Layer, family_of, layers_of
from compress.nn.ops.masks import count_kept, strongest
from compress.nn.ops.schedules import share_left
from compress.nn.surgery import (
    keep_heads,
    keep_layers,
    keep_neurons,
    require_cuttable_heads,
    require_first_layer,
    tell_config,
    tell_heads,
)


@dataclass(frozen=True, kw_only=True)
class PruneStructured(StageDefaults):
    """heads, neurons: shares kept, in (0, 1]. layers: the same, or a list of the numbers (from 0) of those kept.

    importance: the criterion. scope: `layer` keeps the same share in each layer; `model` ranks all layers together (as
    they are where the criterion compares layers, else relative to each layer's mean) and keeps at least one head and
    one block of neurons in each. neuron_multiple: FFN widths are rounded to multiples of it, because kernels work in
    blocks. refit: whether what is left is then fitted in closed form to what the uncut model does on refit_examples
    training examples, with this ridge. recovery_epochs: passes of distillation afterwards. gradual: heads and neurons
    leave in several cuts, judged anew each time, with a part of that distillation between them; layers at once.
    """

    heads: float
    neurons: float
    layers: float | Sequence[int]
    importance: Importance
    scope: str
    neuron_multiple: int
    refit: bool
    refit_examples: int
    ridge: float
    recovery_epochs: float
    gradual: Gradual
    imitation: Imitation

    leaves: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[Mapping[str, str]] = UNCUTTABLE

    def __post_init__(self) -> None:
        for name in ("heads", "neurons"):
            require_fraction(f"stages.prune.{name}", getattr(self, name), f"Use 0.5 to keep half of the {name}.")
        if isinstance(self.layers, int | float):
            require_fraction("stages.prune.layers", self.layers, "Use 0.5 to keep half of the layers.")
        elif not isinstance(self.layers, list | tuple) or not _ascending(self.layers):
            raise InputError(
                f"stages.prune.layers is {self.layers}; it must be a share in (0, 1], or a list of different layers in "
                "ascending order, from 0. Use 0.5 or [0,2,4], for example."
            )
        if not isinstance(self.importance, Importance):
            raise InputError(
                f"stages.prune.importance is {self.importance!r}; it must be a criterion, with of and "
                "compares_layers. Use importance@stages.prune.importance=magnitude."
            )
        require_choice("stages.prune.scope", self.scope, ("layer", "model"))
        require_integer("stages.prune.neuron_multiple", self.neuron_multiple, 1, "Use 8, for example.")
        if not isinstance(self.refit, bool):
            raise InputError(f"stages.prune.refit is {self.refit!r}; it must be true or false.")
        require_integer("stages.prune.refit_examples", self.refit_examples, 1, "Use 1000, for example.")
        require_positive("stages.prune.ridge", self.ridge, "Use 0.01, for example.")
        require_at_least("stages.prune.recovery_epochs", self.recovery_epochs, 0, "Use 0 for no recovery.")
        if self.refit and self.gradual.cuts > 1:
            raise InputError(
                f"stages.prune.refit is true and gradual.cuts is {self.gradual.cuts}; a fit to the uncut model comes "
                "before all training, not between. Use gradual.cuts=1, or refit=false."
            )

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError for a layer that a model of this shape does not have, and for what its family cannot do."""
        if self.heads < 1:
            require_cuttable_heads(model, "stages.prune.heads")
        if self.refit:
            require_refittable(model, "stages.prune.refit")
        if isinstance(self.layers, int | float):
            return
        if self.layers[-1] >= len(layers_of(model)):
            raise InputError(
                f"stages.prune.layers is {list(self.layers)}; the model's layers are 0 to {len(layers_of(model)) - 1}."
            )
        require_first_layer(model, self.layers, "stages.prune.layers")

    def check_examples(self, model: PreTrainedModel, lengths: Sequence[int], seed: int) -> None:
        """Raise InputError where a refit would have fewer positions than unknowns for each output of a projection."""
        if not self.refit:
            return
        rows = chosen_rows(seed, len(lengths), self.refit_examples)
        positions = sum(lengths[row] for row in rows)
        unknowns = 1 + max(self._widest(layer) for layer in layers_of(model))
        if positions <= unknowns:
            raise InputError(
                f"stages.prune.refit_examples is {self.refit_examples}; the {len(rows)} training examples chosen have "
                f"{positions} tokens, and each output of the widest projection that is fitted has {unknowns} unknowns. "
                f"Use {-(-unknowns * 4 * len(rows) // positions)} or more of such examples, or set refit=false."
            )

    def _widest(self, layer: Layer) -> int:
        """The most inputs that an output projection of this layer may be left with."""
        if self.scope == "model":
            return max(layer.heads * layer.head_width, layer.neurons)
        neurons = count_kept(layer.neurons, self.neurons, self.neuron_multiple)
        return max(count_kept(layer.heads, self.heads) * layer.head_width, neurons)

    def relax(self, setback: Setback) -> Milder | None:
        """Half of what was cut stays."""
        cut = {name: getattr(self, name) for name in ("heads", "neurons", "layers")}
        settings = {
            name: (1 + share) / 2 for name, share in cut.items() if isinstance(share, int | float) and share < 1
        }
        return Milder(settings, 0.5) if settings else None

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Raise InputError where the imitation does not fit this teacher."""
        self.imitation.check(teacher)

    def training(self, examples: int) -> Training | None:
        """The recovery, where there is one."""
        return self.imitation.training(examples, self.recovery_epochs)

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The smaller model, refitted and recovered by distillation where asked."""
        self.check(model)
        original = copy.deepcopy(model) if self.refit else model
        before = len(layers_of(model))
        found = self.importance.of(model, context)
        kept = self._kept_layers(model, torch.tensor([layer.layer for layer in found]))
        if len(kept) < before:
            keep_layers(model, kept)
        heads, neurons = _sizes(model)
        first: list[LayerImportance] | None = [found[layer] for layer in kept]

        def cut(progress: float) -> list[int]:
            """Shares are of what there was at first; what they are taken of is what is left."""
            nonlocal first
            importance, first = first or self.importance.of(model, context), None
            left = _sizes(model)
            share = share_left(self.heads, progress) * heads / max(left[0], 1)
            self._cut_heads(model, [layer.heads for layer in importance], share)
            share = share_left(self.neurons, progress) * neurons / max(left[1], 1)
            self._cut_neurons(model, [layer.neurons for layer in importance], share)
            tell_config(model)
            if self.refit:
                self._refit(model, original, context, kept, before)
            return inherited(kept, before, len(layers_of(context.teacher)))

        settings, epochs = self.imitation, self.recovery_epochs
        title = "recovery after pruning"
        cut_and_recover(model, context, self.gradual, cut, imitation=settings, epochs=epochs, title=title)
        # Last: where one key and value are left, heads are counted otherwise once the configuration says so.
        tell_heads(model)
        tell_uneven(model, context)
        context.tell(sizes_left(model, kept))
        return model

    def _kept_layers(self, model: PreTrainedModel, importance: Tensor) -> list[int]:
        if not isinstance(self.layers, int | float):
            return list(self.layers)
        if family_of(model.config).first_layer is not None:
            importance[0] = torch.inf
        return strongest(importance, count_kept(len(importance), self.layers)).tolist()

    def _refit(
        self, model: PreTrainedModel, original: PreTrainedModel, context: Context, kept: list[int], before: int
    ) -> None:
        # A layer makes good what was dropped right after it.
        stands_for = [following - 1 for following in (*kept[1:], before)]
        shown = refit(
            model,
            original,
            context,
            kept=kept,
            stands_for=stands_for,
            examples=self.refit_examples,
            ridge=self.ridge,
        )
        context.note(f"refitted on {shown} examples")

    def _cut_heads(self, model: PreTrainedModel, importance: list[Tensor], share: float) -> None:
        for layer, kept in zip(layers_of(model), self._kept(importance, share, 1), strict=True):
            if len(kept) < layer.heads:
                keep_heads(model, layer, kept)

    def _cut_neurons(self, model: PreTrainedModel, importance: list[Tensor], share: float) -> None:
        chosen = self._kept(importance, share, self.neuron_multiple)
        for layer, kept in zip(layers_of(model), chosen, strict=True):
            if len(kept) < layer.neurons:
                keep_neurons(model, layer, kept)

    def _kept(self, importance: list[Tensor], share: float, multiple: int) -> list[Tensor]:
        if self.scope == "layer":
            return [strongest(values, count_kept(len(values), share, multiple)) for values in importance]
        if not self.importance.compares_layers:
            importance = [values / values.mean().clamp(min=1e-12) for values in importance]
        ranked = torch.cat(importance)
        chosen = torch.zeros(len(ranked), dtype=torch.bool)
        chosen[strongest(ranked, count_kept(len(ranked), share))] = True
        counts = [int(part.sum()) for part in chosen.split([len(values) for values in importance])]
        return [
            strongest(values, count_kept(len(values), max(count, 1) / max(len(values), 1), multiple))
            for values, count in zip(importance, counts, strict=True)
        ]


def _sizes(model: PreTrainedModel) -> tuple[int, int]:
    """How many heads and neurons there are in all."""
    layers = layers_of(model)
    return sum(layer.heads for layer in layers), sum(layer.neurons for layer in layers)


def _ascending(layers: Sequence[object]) -> bool:
    numbers = [layer for layer in layers if isinstance(layer, int) and not isinstance(layer, bool)]
    return bool(numbers) and len(numbers) == len(layers) and numbers == sorted(set(numbers)) and numbers[0] >= 0
