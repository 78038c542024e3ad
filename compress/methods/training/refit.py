"""Reconstruction without training: what is left of a cut model is fitted, layer by layer, to what the uncut model does.

No gradient and no step. The layers are fitted in order, and each sees what the layers before it, already cut and
fitted, really give it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from compress.core.context import Context
from compress.core.signature import Signature
from compress.methods.training.calibration import chosen_rows
from compress.nn.family import Layer, layers_of
from compress.nn.forward import forward, position_mask
from compress.nn.head import positions_mattering
from compress.nn.layers.masked_linear import MaskedLinear
from compress.nn.ops.reconstruction import LeastSquares

BATCH = 32
# How much more a position counts that the task's head reads, in the last layer. Classifiers read one; on BBC passages a
# refit of three layers lost 3.8 points with 1, 1.5 with 100, and 1.4 where nothing else counted. With 100 a small data
# set's other positions still keep the fit from following a few.
READ_WEIGHT = 100.0
# What each output projection's result goes into, together with what went past the block.
NORM_OF = {"attention_output": "attention_norm", "ffn_out": "ffn_norm"}


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
    rest: tuple[Any, ...]
    named: Mapping[str, Any]


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

    What is matched is the sum that enters a normalisation: what the block adds, and what went past it. So a block also
    makes good what earlier cuts have done to the hidden states. A normalisation divides each position by its standard
    deviation, so a position's error counts in units of that; in the last layer, one that the head reads counts
    READ_WEIGHT times. Projections whose zeros must stay are left as they are. Returns the number of examples shown.
    """
    passages, shown = _passages(model, original, context, examples)
    layers, originals = layers_of(model), layers_of(original)
    before = -1
    for layer, own, stood_for in zip(tqdm(layers, "refit", unit="layer", leave=False), kept, stands_for, strict=True):
        _norm(layer, "ffn_out").load_state_dict(_norm(originals[stood_for], "ffn_out").state_dict())
        wanted = [_advance_original(originals[before + 1 : stood_for + 1], own - before - 1, p) for p in passages]
        extra = READ_WEIGHT if stood_for == len(originals) - 1 else 1.0
        for part in (part for part in NORM_OF if part in layer.parts):
            _refit_part(layer, part, passages, [sums[part] for sums in wanted], ridge, extra)
        for passage in passages:
            passage.cut = _run(layer, passage.cut, passage)
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
        (state, *_), _ = _first_call(original, signature, batch)
        (cut, *rest), named = _first_call(model, signature, batch)
        read, mask = positions_mattering(model, signature, batch), position_mask(signature, batch)
        counts = torch.ones_like(read) if mask is None else mask.to(read.device)
        passages.append(Passage(state, cut, counts, read, tuple(rest), named))
    return passages, len(order)


class _Reached(Exception):  # noqa: N818 - it is no error, it ends a forward pass
    """What was to be seen has been seen: nothing after it is needed."""


def _first_call(model: PreTrainedModel, signature: Signature, batch: Mapping[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """What the model calls its first layer with."""
    seen: list[tuple[tuple, dict[str, Any]]] = []

    def stop(module: nn.Module, values: tuple, named: dict[str, Any]) -> None:
        seen.append((values, named))
        raise _Reached

    model.eval()
    hook = layers_of(model)[0].module.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        forward(model, signature, batch)
    except _Reached:
        pass
    finally:
        hook.remove()
    return seen[0]


def _advance_original(layers: Sequence[Layer], own: int, passage: Passage) -> dict[str, Tensor]:
    """Take the original's hidden states through `layers`. Returns the sums wanted of the layer that stands for them:
    the attention's of layer number `own` among them, which it was cut from, and the FFN's of the last."""
    wanted: dict[str, Tensor] = {}
    for number, layer in enumerate(layers):
        with _sums_of(layer) as sums:
            passage.original = _run(layer, passage.original, passage)
        if number == own:
            wanted["attention_output"] = sums["attention_output"]
        wanted["ffn_out"] = sums["ffn_out"]
    return wanted


def _refit_part(
    layer: Layer, part: str, passages: Sequence[Passage], wanted: Sequence[Tensor], ridge: float, extra: float
) -> None:
    module = layer.part(part)
    assert isinstance(module, nn.Linear)
    if isinstance(module, MaskedLinear):
        # A fit would fill its zeros.
        return
    equations = LeastSquares.empty(module.in_features, module.out_features)
    for passage, target in zip(passages, wanted, strict=True):
        with suppress(_Reached), _sums_of(layer, stop_at=part) as sums, _inputs_of(module) as inputs:
            _run(layer, passage.cut, passage)
        here = passage.counts
        missing = (target - sums[part])[here]
        weights = torch.where(passage.read, extra, 1.0) / target.var(dim=2).clamp(min=1e-12)
        equations.add(inputs[0][here], missing, weights[here])
    weight, bias = equations.solve(ridge)
    module.weight.add_(weight.to(module.weight))
    if module.bias is not None:
        module.bias.add_(bias.to(module.bias))


def _run(layer: Layer, states: Tensor, passage: Passage) -> Tensor:
    output = layer.module(states, *passage.rest, **passage.named)
    return output if isinstance(output, Tensor) else output[0]


def _norm(layer: Layer, part: str) -> nn.Module:
    return layer.part(NORM_OF[part])


@contextmanager
def _sums_of(layer: Layer, stop_at: str | None = None) -> Iterator[dict[str, Tensor]]:
    """What enters the layer's two normalisations, by the name of the projection before each. Raises _Reached at the
    one after `stop_at`."""
    seen: dict[str, Tensor] = {}

    def hook_for(part: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[part] = inputs[0]
            if part == stop_at:
                raise _Reached

        return hook

    hooks = [_norm(layer, part).register_forward_pre_hook(hook_for(part)) for part in NORM_OF]
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
