"""Pruning to a latency budget: heads, neurons, ranks, blocks and layers that keep most importance in the time given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from transformers import PreTrainedModel

from compress.core.blame import Milder, Setback
from compress.core.checks import require_at_least, require_boolean, require_fraction, require_integer, require_positive
from compress.core.context import Context, LayerImportance
from compress.core.errors import InputError
from compress.core.latency_table import LatencyTable
from compress.core.stage import StageDefaults, Training
from compress.core.words import ComponentImportance, Importance
from compress.methods.layer_sizes import ATTENTION_PRODUCTS, Choice, Choices, Sizes
from compress.methods.prune.cutting import UNCUTTABLE, sizes_left, tell_uneven
from compress.methods.prune.explanation import explanation
from compress.methods.training.gradual import Gradual, cut_and_recover
from compress.methods.training.imitation import Imitation
from compress.methods.training.layer_map import inherited
from compress.methods.training.low_rank import factorize, ranks_of, with_products
from compress.methods.uniform_sizes import UniformChoices
from compress.nn.family import Layer, family_of, layers_of
from compress.nn.fusion import require_fused_form, widest_sizes
from compress.nn.ops.masks import strongest
from compress.nn.scale import fold_scales
from compress.nn.surgery import drop_attention, drop_ffn, keep_heads, keep_layers, keep_neurons, tell_config, tell_heads

DESTROYED = (
    "a low rank destroys the zeros that pruning left in a product; set ranks=false, or leave out the pruning before it"
)
TARGETS = ("target_speedup", "target_latency_ms", "kept_importance")


@dataclass(frozen=True, kw_only=True)
class PruneToBudget(StageDefaults):
    """Exactly one of the first three says how much stays.

    target_speedup: times the FP32 teacher's speed on the recipe's runtime, in the recipe's last precision.
    target_latency_ms: milliseconds per example at the data's lengths, or per request where a model goes on with a
    text, on this machine. kept_importance: the share of
    all importance that stays, in (0, 1], at the least time that this takes.
    margin: the budget is this share smaller, because a prediction is off by a few percent. importance: the criterion;
    heads, neurons and layers compete for the same time, so values are shares of each layer's own total where the
    criterion does not compare layers. blocks: whether the attention or the FFN of a layer may leave alone.
    uniform: whether all layers that stay keep as many heads, and as many neurons, as each other, so that the
    configuration alone says what the model is, and any loader builds it; where a configuration could not say that there
    are fewer heads, all of those stay. Not with blocks or ranks.
    ranks: whether products may become two thin ones, in the same time, but for query, key and value, which are fused
    into one, and for what is computed for one token; a rank loses the importance of the singular components that it
    leaves out. Factors cannot be cut again, so ranks come with the last cut. calibration_examples: training examples on
    whose inputs products are approximated.
    neuron_multiple: FFN widths and ranks are multiples of it. gradual: in how many cuts, each to a budget between the
    model's own and the last. recovery_epochs: passes of distillation in all.
    """

    target_speedup: float | None
    target_latency_ms: float | None
    kept_importance: float | None
    margin: float
    importance: Importance
    blocks: bool
    uniform: bool
    ranks: bool
    calibration_examples: int
    neuron_multiple: int
    recovery_epochs: float
    gradual: Gradual
    imitation: Imitation

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
        if not isinstance(self.importance, Importance):
            raise InputError(
                f"stages.prune.importance is {self.importance!r}; it must be a criterion, with of and "
                "compares_layers. Use importance@stages.prune.importance=fisher."
            )
        require_boolean("stages.prune.blocks", self.blocks)
        require_boolean("stages.prune.uniform", self.uniform)
        require_boolean("stages.prune.ranks", self.ranks)
        uneven = [name for name in ("blocks", "ranks") if getattr(self, name)]
        if self.uniform and uneven:
            raise InputError(
                f"stages.prune.uniform is true and stages.prune.{uneven[0]} too, which leaves layers of other sizes. "
                f"Set stages.prune.{uneven[0]}=false, or uniform=false."
            )
        require_integer("stages.prune.calibration_examples", self.calibration_examples, 1, "Use 256, for example.")
        if self.ranks and not isinstance(self.importance, ComponentImportance):
            raise InputError(
                f"stages.prune.ranks is true and importance is {type(self.importance).__name__}, which cannot say what "
                "a rank loses. Use importance@stages.prune.importance=fisher, or ranks=false."
            )
        require_integer("stages.prune.neuron_multiple", self.neuron_multiple, 1, "Use 16, for example.")
        require_at_least("stages.prune.recovery_epochs", self.recovery_epochs, 0, "Use 0 for no recovery.")

    @property
    def leaves(self) -> frozenset[str]:
        """Low ranks, where they may be chosen."""
        return frozenset({"low_rank"}) if self.ranks else frozenset()

    @property
    def refuses(self) -> Mapping[str, str]:
        """What cannot be cut, and where ranks may be chosen what they would destroy."""
        return {**UNCUTTABLE, "sparse": DESTROYED} if self.ranks else UNCUTTABLE

    @property
    def unread(self) -> frozenset[str]:
        """Nothing is approximated where products stay whole."""
        return frozenset() if self.ranks else frozenset({"calibration_examples"})

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError where nothing says how much stays, or no latency table can be made."""
        if self.ranks:
            require_fused_form(model, "stages.prune.ranks", "Set ranks=false.")
        if self.uniform:
            _require_one_size(model)
        if all(getattr(self, name) is None for name in TARGETS):
            raise InputError(
                f"stages.prune has none of {', '.join(TARGETS)} set; exactly one says how much stays. "
                "objective.speedup=10 sets the first."
            )

    def relax(self, setback: Setback) -> Milder | None:
        """Half of the time that was saved, or of the importance that was lost, comes back."""
        if self.kept_importance is not None:
            more = (1 + self.kept_importance) / 2
            return Milder({"kept_importance": more}, None) if self.kept_importance < 1 else None
        if self.target_speedup is None and self.target_latency_ms is None:
            return None
        # A target is of the order's end: so is the time that it is half way back to, which no measurement of this
        # stage's own models tells.
        table = setback.latency(widest_sizes(setback.before))
        whole, budget = table.predict(_sizes(setback.before)), self._budget(table)
        if whole <= budget:
            return None
        half = (whole + budget) / 2 / (1 - self.margin)
        if self.target_speedup is None:
            return Milder({"target_latency_ms": _two_digits(half)}, 0.5)
        return Milder({"target_speedup": _two_digits(table.teacher / half)}, 0.5)

    def check_latency(self, model: PreTrainedModel, latency: Callable[[Any], LatencyTable]) -> None:
        """Raise InputError where nothing that can be cut out of a model of this shape fits the budget."""
        if self.kept_importance is None:
            sizes = widest_sizes(model)
            table = latency(sizes)
            neurons = 0 if self.blocks else min(self.neuron_multiple, sizes.neurons)
            # The last layer stays, and in some families the first one too.
            staying = 2 if family_of(model.config).first_layer is not None and len(layers_of(model)) > 1 else 1
            self._require_reachable(table, table.predict([(1, neurons)] * staying))

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Raise InputError where the imitation does not fit this teacher."""
        self.imitation.check(teacher)

    def training(self, examples: int) -> Training | None:
        """The recovery, where there is one."""
        return self.imitation.training(examples, self.recovery_epochs)

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The model that fits the budget, recovered by distillation where asked. Raises InputError where none fits."""
        teachers, before = len(layers_of(context.teacher)), len(layers_of(model))
        sizes = widest_sizes(model)
        table = context.latency(sizes, low_rank=True) if self.ranks else context.latency(sizes)
        whole = table.predict(_sizes(model))
        stands_for = list(range(before))

        def cut(progress: float) -> list[int]:
            nonlocal stands_for
            if self.ranks:
                fold_scales(model)
            found = self.importance.of(model, context)
            if self.ranks and progress == 1:
                criterion = cast(ComponentImportance, self.importance)
                found = with_products(model, context, found, criterion, self.calibration_examples)
            choices = self._choices(model, self._comparable(found), table)
            choice = self._choose(choices, whole, progress)
            sentence, why = explanation(choices, choice, stands_for)
            context.note(sentence)
            context.tell(why)
            kept = _cut(model, choices.found, choice.sizes)
            factorize(model, context, [choice.ranks[layer] for layer in kept], self.calibration_examples)
            stands_for = [stands_for[layer] for layer in kept]
            return inherited(stands_for, before, teachers)

        settings, epochs, title = self.imitation, self.recovery_epochs, "recovery after pruning"
        cut_and_recover(model, context, self.gradual, cut, imitation=settings, epochs=epochs, title=title)
        ranks = ranks_of(model)
        context.tell(sizes_left(model, stands_for, ranks))
        left = _sizes(model)
        predicted = table.predict(left, ranks)
        # Last: where one key and value are left, heads are counted otherwise once the configuration says so.
        tell_heads(model)
        tell_uneven(model, context)
        context.predict(table.teacher / predicted)
        context.note(
            f"predicted: {predicted:.3f} ms after the stages to come, {table.teacher / predicted:.1f} times the "
            f"teacher's speed ({table.fixed:.3f} ms of it are embeddings and head); before: {whole:.3f} ms"
        )
        if table.together is not None:
            context.note(f"blocks of a whole model took {table.together:.2f} times what they take alone: counted in")
        if table.prompt is not None:
            prompt = table.prompt.predict(left)
            context.note(
                f"of that {prompt:.3f} ms until the first token, {table.prompt.teacher / prompt:.1f} times the "
                f"teacher's speed, and {predicted - prompt:.3f} ms for all after it, "
                f"{(table.teacher - table.prompt.teacher) / (predicted - prompt):.1f} times"
            )
        return model

    def _comparable(self, found: list[LayerImportance]) -> list[LayerImportance]:
        if self.importance.compares_layers:
            return found
        return [_shares(layer) for layer in found]

    def _choices(self, model: PreTrainedModel, found: list[LayerImportance], table: LatencyTable) -> Choices:
        family = family_of(model.config)
        given: dict[str, Any] = {
            "found": found,
            "table": table,
            "blocks": self.blocks,
            "neuron_multiple": self.neuron_multiple,
            "keeps_first": family.first_layer is not None,
        }
        return UniformChoices(**given, whole_heads=not family.tells_heads) if self.uniform else Choices(**given)

    def _choose(self, choices: Choices, whole: float, progress: float) -> Choice:
        if self.kept_importance is not None:
            return choices.keeping(1 - (1 - self.kept_importance) * progress)
        table = choices.table
        target = self._budget(table)
        budget = whole - (whole - target) * progress
        self._require_reachable(table, table.fixed + choices.least, budget)
        return choices.within(budget - table.fixed)

    def _budget(self, table: LatencyTable) -> float:
        """Milliseconds."""
        if self.target_latency_ms is not None:
            return self.target_latency_ms * (1 - self.margin)
        assert self.target_speedup is not None
        return table.teacher / self.target_speedup * (1 - self.margin)

    def _require_reachable(self, table: LatencyTable, least: float, budget: float | None = None) -> None:
        budget = self._budget(table) if budget is None else budget
        if budget >= least:
            return
        # Rounded towards what can be had, and past the last bit.
        if self.target_speedup is not None:
            name, most = "target_speedup", table.teacher / least * (1 - self.margin)
            way_out = f"Ask for {(math.ceil(10 * most) - 1) / 10:g} times or less."
        else:
            name, most = "target_latency_ms", least / (1 - self.margin)
            way_out = f"Ask for {(math.floor(1000 * most) + 1) / 1000:g} ms or more."
        raise InputError(
            f"stages.prune.{name} is {getattr(self, name)}, a budget of {budget:.3f} ms here; the embeddings, the "
            f"head and the smallest last layer alone take {least:.3f} ms, {table.teacher / least:.1f} times the "
            f"teacher's speed. {way_out}"
        )


def _require_one_size(model: PreTrainedModel) -> None:
    """Raise InputError where a layer has lost what every other one is to keep as much of."""
    layers = layers_of(model)
    whole = not family_of(model.config).tells_heads
    for number, layer in enumerate(layers):
        lacking = "its attention" if not layer.heads else "" if layer.neurons else "its FFN"
        if not lacking and whole and layer.heads < max(each.heads for each in layers):
            lacking = "part of its heads"
        if lacking:
            raise InputError(
                f"stages.prune.uniform is true, and layer {number} has lost {lacking}, so layers of one size cannot "
                "be had. Cut with uniform=true in every such stage, or set uniform=false."
            )


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def _sizes(model: PreTrainedModel) -> list[Sizes]:
    return [(layer.heads, layer.neurons) for layer in layers_of(model)]


def _cut(model: PreTrainedModel, found: Sequence[LayerImportance], sizes: Sequence[Sizes]) -> list[int]:
    """Cut the model to these sizes, in place. Returns the numbers of the layers that stayed."""
    for layer, importance, size in zip(layers_of(model), found, sizes, strict=True):
        if any(size):
            _cut_layer(model, layer, importance, *size)
    kept = [number for number, size in enumerate(sizes) if any(size)]
    if len(kept) < len(sizes):
        keep_layers(model, kept)
    tell_config(model)
    return kept


def _cut_layer(model: PreTrainedModel, layer: Layer, importance: LayerImportance, heads: int, neurons: int) -> None:
    if heads < layer.heads:
        if heads:
            keep_heads(model, layer, strongest(importance.heads, heads))
        else:
            drop_attention(model, layer)
    if neurons < layer.neurons:
        if neurons:
            keep_neurons(model, layer, strongest(importance.neurons, neurons))
        else:
            drop_ffn(model, layer)


def _shares(layer: LayerImportance) -> LayerImportance:
    """Everything as a share of the layer's heads, or of its neurons."""
    heads, neurons = _total(layer.heads), _total(layer.neurons)
    products = {
        name: dataclasses.replace(
            product, components=product.components / (heads if name in ATTENTION_PRODUCTS else neurons)
        )
        for name, product in layer.products.items()
    }
    return LayerImportance(layer.heads / heads, layer.neurons / neurons, layer.layer, products)


def _total(importance: torch.Tensor) -> float:
    return max(float(importance.sum()), 1e-12)
