"""Reconstruction without training: what is left of a cut model is fitted, layer by layer, to what the uncut model does.

No gradient and no step. The layers are fitted in order, and each sees what the layers before it, already cut and
fitted, really give it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from compress.core.context import Context
from compress.core.errors import InputError
from compress.methods.training.calibration import chosen_rows
from compress.methods.training.layerwise import Call, Reached, layer_calls, run_layer
from compress.nn.family import Layer, family_of, layers_of
from compress.nn.forward import position_mask
from compress.nn.head import positions_mattering
from compress.nn.layers.masked_linear import MaskedLinear
from compress.nn.ops.reconstruction import LeastSquares
from compress.nn.scale import fold_scales

BATCH = 32
# How much more a position counts that the task's head reads, in the last layer. Classifiers read one; on BBC passages a
# refit of three layers lost 3.8 points with 1, 1.5 with 100, and 1.4 where nothing else counted. With 100 a small data
# set's other positions still keep the fit from following a few.
READ_WEIGHT = 100.0
PROJECTIONS = ("attention_output", "ffn_out")


@dataclass
class Passage:
    """A batch of examples on its way through the layers of both models.

    original, cut: the hidden states (rows, length, hidden) that the next layer of each receives. counts: (rows,
    length), False for padding. read: the same, True where the task's logits depend on the last layer's output. rest,
    named: what else a layer is called with.
    """

    original: Tensor
    cut: Tensor
    counts: Tensor
    read: Tensor
    original_calls: Sequence[Call]
    calls: Sequence[Call]


@torch.no_grad()
def refit(
    model: PreTrainedModel,
    original: PreTrainedModel,
    context: Context,
    *,
    kept: Sequence[int],
    stands_for: Sequence[int],
    examples: int,
    ridge: float,
) -> int:
    """Fit the output projections of `model` in place, so that its layers do what those of `original` do.

    kept: for each layer of `model` the layer of `original` (from 0) it was cut from. stands_for: the one whose output
    it should give, which is further on where layers between were dropped; it takes over that layer's normalisation,
    which its output now goes into. ridge: see LeastSquares.

    What is matched is the residual sum: what the block adds, and what went past it. So a block also makes good what
    earlier cuts have done to the hidden states. Post-norm it enters the block's normalisation; pre-norm it goes on as
    it is, and the next block normalises it. A normalisation divides each position by its standard deviation (RMSNorm by
    its root mean square), so a position's error counts in units of that; in the last layer, one that the head reads
    counts READ_WEIGHT times. Projections whose zeros must stay are left as they are. Returns the number of examples
    shown.
    """
    require_refittable(model, "refit")
    fold_scales(model)
    passages, shown = _passages(model, original, context, examples)
    layers, originals = layers_of(model), layers_of(original)
    before = -1
    shown_layers = enumerate(tqdm(layers, "refit", unit="layer", leave=False))
    for (number, layer), own, stood_for in zip(shown_layers, kept, stands_for, strict=True):
        if layer.family.ffn.position == "post":
            layer.part("ffn_norm").load_state_dict(originals[stood_for].part("ffn_norm").state_dict())
        between = range(before + 1, stood_for + 1)
        wanted = [_advance_original(originals, between, own, passage) for passage in passages]
        extra = READ_WEIGHT if stood_for == len(originals) - 1 else 1.0
        for part in (part for part in PROJECTIONS if part in layer.parts):
            _refit_part(layer, number, part, passages, [sums[part] for sums in wanted], ridge, extra)
        for passage in passages:
            passage.cut = run_layer(layer, passage.cut, passage.calls[number])
        before = stood_for
    return shown


def _passages(
    model: PreTrainedModel, original: PreTrainedModel, context: Context, examples: int
) -> tuple[list[Passage], int]:
    signature, lengths = context.task.signature(model.config), list(context.train["length"])
    # Similar lengths together, so that little is padding.
    order = sorted(chosen_rows(context.seed, len(lengths), examples), key=lambda row: lengths[row])
    passages = []
    for start in range(0, len(order), BATCH):
        batch = context.collate([context.train[row] for row in order[start : start + BATCH]])
        state, original_calls = layer_calls(original, signature, batch)
        cut, calls = layer_calls(model, signature, batch)
        read, mask = positions_mattering(model, signature, batch), position_mask(signature, batch)
        counts = torch.ones_like(read) if mask is None else mask.to(read.device)
        passages.append(Passage(state, cut, counts, read, original_calls, calls))
    return passages, len(order)


def _advance_original(layers: Sequence[Layer], numbers: Sequence[int], own: int, passage: Passage) -> dict[str, Tensor]:
    """Take the original's hidden states through the layers of these numbers. Returns the sums wanted of the layer that
    stands for them: the attention's of layer number `own` among them, which it was cut from, and the FFN's of the
    last."""
    wanted: dict[str, Tensor] = {}
    for number in numbers:
        with _sums_of(layers[number]) as sums:
            passage.original = run_layer(layers[number], passage.original, passage.original_calls[number])
        if number == own:
            wanted["attention_output"] = sums["attention_output"]
        wanted["ffn_out"] = sums["ffn_out"]
    return wanted


def _refit_part(
    layer: Layer,
    number: int,
    part: str,
    passages: Sequence[Passage],
    wanted: Sequence[Tensor],
    ridge: float,
    extra: float,
) -> None:
    module = layer.part(part)
    assert isinstance(module, nn.Linear)
    if isinstance(module, MaskedLinear):
        # A fit would fill its zeros.
        return
    equations = LeastSquares.empty(module.in_features, module.out_features)
    for passage, target in zip(passages, wanted, strict=True):
        with suppress(Reached), _sums_of(layer, stop_at=part) as sums, _inputs_of(module) as inputs:
            run_layer(layer, passage.cut, passage.calls[number])
        here = passage.counts
        missing = (target - sums[part])[here]
        weights = torch.where(passage.read, extra, 1.0) / _unit(layer, target).clamp(min=1e-12)
        equations.add(inputs[0][here], missing, weights[here])
    weight, bias = equations.solve(ridge, bias=module.bias is not None)
    module.weight.add_(weight.to(module.weight))
    if module.bias is not None:
        module.bias.add_(bias.to(module.bias))


def _unit(layer: Layer, sums: Tensor) -> Tensor:
    """(rows, length): the square of what a normalisation divides each position of these sums by."""
    return sums.pow(2).mean(dim=2) if layer.family.ffn.rms else sums.var(dim=2)


@contextmanager
def _sums_of(layer: Layer, stop_at: str | None = None) -> Iterator[dict[str, Tensor]]:
    """The layer's two residual sums, by the name of the projection before each. Raises Reached at the one after
    `stop_at`."""
    seen: dict[str, Tensor] = {}

    def keep(part: str, value: Tensor) -> None:
        seen[part] = value
        if part == stop_at:
            raise Reached

    def entering(norm: str, part: str) -> RemovableHandle:
        return layer.part(norm).register_forward_pre_hook(lambda _, inputs: keep(part, inputs[0]))

    if layer.family.ffn.position == "post":
        hooks = [entering("attention_norm", "attention_output"), entering("ffn_norm", "ffn_out")]
    else:
        leaving = layer.module.register_forward_hook(
            lambda _, inputs, output: keep("ffn_out", output if isinstance(output, Tensor) else output[0])
        )
        hooks = [entering("ffn_norm", "attention_output"), leaving]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


def require_refittable(model: PreTrainedModel, setting: str) -> None:
    """Raise InputError for a family where what a projection gives is normalised before it is added: no least squares
    can fit it. setting: what asked for it."""
    family = family_of(model.config)
    if "around" in (family.attention.position, family.ffn.position):
        raise InputError(
            f"{setting}: a {family.model_type} model cannot be refitted in closed form, because it normalises what "
            "each projection gives before adding it. Set refit=false, and give recovery_epochs instead."
        )
