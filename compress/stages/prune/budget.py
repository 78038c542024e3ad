"""Pruning to a latency budget: which heads, neurons and layers stay is what keeps most importance in the time given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from transformers import PreTrainedModel

from compress.core.blame import Milder, Setback
from compress.core.checks import require_at_least, require_fraction, require_integer, require_positive
from compress.core.errors import InputError
from compress.core.latency_table import LatencyTable
from compress.core.words import Context, Importance, LayerImportance
from compress.models.family import layers_of
from compress.models.fusion import fused_sizes
from compress.models.surgery import keep_heads, keep_layers, keep_neurons, tell_config
from compress.ops.allocation import allocate
from compress.ops.masks import strongest
from compress.training.gradual import Gradual, cut_and_recover
from compress.training.imitation import Imitation, inherited

Sizes = tuple[int, int]
TARGETS = ("target_speedup", "target_latency_ms", "kept_importance")


@dataclass(frozen=True, kw_only=True)
class PruneToBudget:
    """Exactly one of the first three says how much stays.

    target_speedup: times the FP32 teacher's speed on the recipe's runtime, in the recipe's last precision.
    target_latency_ms: milliseconds per example at the data's lengths, on this machine. kept_importance: the share of
    all importance that stays, in (0, 1], at the least time that this takes.
    margin: the budget is this share smaller, because a prediction is off by a few percent. importance: the criterion;
    heads, neurons and layers compete for the same time, so values are shares of each layer's own total where the
    criterion does not compare layers. neuron_multiple: FFN widths are multiples of it. gradual: in how many cuts, each
    to a budget between the model's own and the last. recovery_epochs: passes of distillation in all.
    """

    target_speedup: float | None
    target_latency_ms: float | None
    kept_importance: float | None
    margin: float
    importance: Importance
    neuron_multiple: int
    recovery_epochs: float
    gradual: Gradual
    imitation: Imitation

    leaves: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[Mapping[str, str]] = {
        "fused": "the heads of a fused layer have no weights of their own; prune before fusing",
        "int8": "int8 weights cannot be trained or cut; prune before quantizing",
        "low_rank": "the factors of a factorized layer have no heads or neurons of their own; prune before factorizing",
    }
    uses_latency: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(
                f"stages.prune has {' and '.join(given)} set; exactly one says how much stays. Set the others to null."
            )
        if self.target_speedup is not None:
            require_positive("stages.prune.target_speedup", self.target_speedup, "Use 10 for ten times as fast.")
        if self.target_latency_ms is not None:
            require_positive("stages.prune.target_latency_ms", self.target_latency_ms, "Use 0.5, for example.")
        if self.kept_importance is not None:
            require_fraction("stages.prune.kept_importance", self.kept_importance, "Use 0.9, for example.")
        if not isinstance(self.margin, int | float) or isinstance(self.margin, bool) or not 0 <= self.margin < 1:
            raise InputError(f"stages.prune.margin is {self.margin}; it must lie in [0, 1). Use 0.05, for example.")
        if not hasattr(self.importance, "of"):
            raise InputError(
                f"stages.prune.importance is {self.importance!r}; it must be a criterion. Use "
                "importance@stages.prune.importance=fisher."
            )
        require_integer("stages.prune.neuron_multiple", self.neuron_multiple, 1, "Use 16, for example.")
        require_at_least("stages.prune.recovery_epochs", self.recovery_epochs, 0, "Use 0 for no recovery.")

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError where nothing says how much stays."""
        if all(getattr(self, name) is None for name in TARGETS):
            raise InputError(
                f"stages.prune has none of {', '.join(TARGETS)} set; exactly one says how much stays. "
                "objective.speedup=10 sets the first."
            )

    def relax(self, setback: Setback) -> Milder | None:
        """Half of the time that was saved, or of the importance that was lost, comes back."""
        if self.target_speedup is not None:
            return Milder({"target_speedup": _two_digits(self.target_speedup / setback.slowdown)}, 0.5)
        if self.target_latency_ms is not None:
            return Milder({"target_latency_ms": _two_digits(self.target_latency_ms * setback.slowdown)}, 0.5)
        if self.kept_importance is not None and self.kept_importance < 1:
            return Milder({"kept_importance": (1 + self.kept_importance) / 2}, None)
        return None

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The model that fits the budget, recovered by distillation where asked. Raises InputError where none fits."""
        teachers, before = len(layers_of(context.teacher)), len(layers_of(model))
        table = context.latency(fused_sizes(model, layers_of(model)[0]))
        whole = table.predict([(layer.heads, layer.neurons) for layer in layers_of(model)])
        stands_for = list(range(before))

        def cut(progress: float) -> list[int]:
            nonlocal stands_for
            found = self._comparable(self.importance.of(model, context))
            sizes = self._choose(table, found, whole, progress)
            kept = self._cut(model, found, sizes)
            stands_for = [stands_for[layer] for layer in kept]
            return inherited(stands_for, before, teachers)

        settings, epochs, title = self.imitation, self.recovery_epochs, "recovery after pruning"
        cut_and_recover(model, context, self.gradual, cut, imitation=settings, epochs=epochs, title=title)
        for number, layer in zip(stands_for, layers_of(model), strict=True):
            context.note(f"{layer.path}: {layer.heads} heads, {layer.neurons} neurons, from layer {number}")
        predicted = table.predict([(layer.heads, layer.neurons) for layer in layers_of(model)])
        context.note(
            f"predicted: {predicted:.3f} ms after the stages to come, {table.teacher / predicted:.1f} times the "
            f"teacher's speed ({table.fixed:.3f} ms of it are embeddings and head); before: {whole:.3f} ms"
        )
        return model

    def _comparable(self, found: list[LayerImportance]) -> list[LayerImportance]:
        if self.importance.compares_layers:
            return found
        return [
            LayerImportance(layer.heads / _total(layer.heads), layer.neurons / _total(layer.neurons), layer.layer)
            for layer in found
        ]

    def _choose(
        self, table: LatencyTable, found: Sequence[LayerImportance], whole: float, progress: float
    ) -> list[Sizes]:
        options = [self._options(layer, last=i == len(found) - 1) for i, layer in enumerate(found)]
        costs = [
            np.array([table.layer(*size, last=i == len(found) - 1) if any(size) else 0.0 for size in sizes])
            for i, (sizes, _) in enumerate(options)
        ]
        values = [value for _, value in options]
        if self.kept_importance is not None:
            wanted = 1 - (1 - self.kept_importance) * progress
            chosen = _cheapest(costs, values, wanted)
        else:
            target = self._budget(table)
            chosen = self._within(costs, values, whole - (whole - target) * progress, table)
        return [sizes[option] for (sizes, _), option in zip(options, chosen, strict=True)]

    def _budget(self, table: LatencyTable) -> float:
        """Milliseconds."""
        if self.target_latency_ms is not None:
            return self.target_latency_ms * (1 - self.margin)
        assert self.target_speedup is not None
        return table.teacher / self.target_speedup * (1 - self.margin)

    def _within(
        self, costs: list[np.ndarray], values: list[np.ndarray], budget: float, table: LatencyTable
    ) -> list[int]:
        least = table.fixed + sum(float(cost.min()) for cost in costs)
        if budget < least:
            name = "target_speedup" if self.target_speedup is not None else "target_latency_ms"
            raise InputError(
                f"stages.prune.{name} is {getattr(self, name)}, a budget of {budget:.3f} ms here; the embeddings, the "
                f"head and the smallest last layer alone take {least:.3f} ms, {table.teacher / least:.1f} times the "
                f"teacher's speed. Ask for {table.teacher / least * (1 - self.margin):.1f} times or less."
            )
        return allocate(costs, values, budget - table.fixed)

    def _options(self, layer: LayerImportance, *, last: bool) -> tuple[list[Sizes], np.ndarray]:
        """All (heads, neurons) a layer may be left with, and the importance that each keeps. The last layer stays: the
        head reads it."""
        heads, neurons = _kept_sums(layer.heads), _kept_sums(layer.neurons)
        step = self.neuron_multiple
        widths = [*range(step, len(layer.neurons), step), len(layer.neurons)]
        sizes = [(k, n) for k in range(1, len(layer.heads) + 1) for n in widths]
        values = [heads[k] + neurons[n] for k, n in sizes]
        if not last:
            sizes, values = [(0, 0), *sizes], [0.0, *values]
        return sizes, np.array(values)

    def _cut(self, model: PreTrainedModel, found: Sequence[LayerImportance], sizes: Sequence[Sizes]) -> list[int]:
        """Cut the model to these sizes, in place. Returns the numbers of the layers that stayed."""
        for layer, importance, (heads, neurons) in zip(layers_of(model), found, sizes, strict=True):
            if 0 < heads < layer.heads:
                keep_heads(model, layer, strongest(importance.heads, heads))
            if 0 < neurons < layer.neurons:
                keep_neurons(model, layer, strongest(importance.neurons, neurons))
        kept = [number for number, size in enumerate(sizes) if any(size)]
        if len(kept) < len(sizes):
            keep_layers(model, kept)
        tell_config(model)
        return kept


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def _kept_sums(importance: torch.Tensor) -> np.ndarray:
    """How much the k most important together have, for k from 0."""
    ordered = importance.double().sort(descending=True).values.numpy()
    return np.concatenate([[0.0], np.cumsum(ordered)])


def _total(importance: torch.Tensor) -> float:
    return max(float(importance.sum()), 1e-12)


def _cheapest(costs: list[np.ndarray], values: list[np.ndarray], share: float) -> list[int]:
    """The options that keep this share of all importance in the least time, to a thousandth of the whole time."""
    low, high = sum(float(cost.min()) for cost in costs), sum(float(cost.max()) for cost in costs)
    wanted = share * sum(float(value.max()) for value in values)
    best = [int(np.argmax(value)) for value in values]
    grain = high / 1000
    while high - low > grain:
        middle = (low + high) / 2
        chosen = allocate(costs, values, middle)
        if sum(float(value[i]) for value, i in zip(values, chosen, strict=True)) >= wanted * (1 - 1e-9):
            best, high = chosen, middle
        else:
            low = middle
    return best
