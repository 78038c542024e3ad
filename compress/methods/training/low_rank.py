"""Products that become two thin ones: what their components are worth on training examples, and the exchange."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import cast

from torch import nn
from transformers import PreTrainedModel

from compress.core.context import Context, LayerImportance, ProductImportance
from compress.core.latency_table import Ranks
from compress.core.words import ComponentImportance
from compress.methods.layer_sizes import ATTENTION_PRODUCTS, FFN_PRODUCTS
from compress.methods.training.calibration import decompositions
from compress.nn.family import Layer, hidden_size, last_attending, layers_of
from compress.nn.head import head_reads
from compress.nn.layers.low_rank_linear import LowRankLinear
from compress.nn.structure import replace_module


def with_products(
    model: PreTrainedModel,
    context: Context,
    found: Sequence[LayerImportance],
    importance: ComponentImportance,
    examples: int,
) -> list[LayerImportance]:
    """The same, with the importance of the components of every product that may become two thin ones.

    examples: training examples on whose inputs the products are decomposed. Where the head reads the first position
    only, those of the last layer that has attention, and of those after it, are left out: they are computed for that
    one alone.
    """
    layers, hidden = layers_of(model), hidden_size(model)
    whole = layers[: last_attending(layers)] if head_reads(model, context) == "first" else layers
    places = {layer.path_of(name): layer.part(name) for layer in whole for name in may_be_thin(layer)}
    if not places:
        return list(found)
    modules = {path: cast(nn.Linear, module) for path, module in places.items()}
    factors = {
        path: decomposition.factors(len(decomposition.singular))
        for path, decomposition in decompositions(model, context, modules, examples)
    }
    values = importance.of_components(model, context, factors)

    def products(layer: Layer) -> dict[str, ProductImportance]:
        present = {name: layer.path_of(name) for name in may_be_thin(layer) if layer.path_of(name) in values}
        units = {name: layer.head_width if name in ATTENTION_PRODUCTS else 1 for name in present}
        return {name: ProductImportance(values[path], hidden, units[name]) for name, path in present.items()}

    return [
        dataclasses.replace(values_of, products=products(layer)) for layer, values_of in zip(layers, found, strict=True)
    ]


def factorize(model: PreTrainedModel, context: Context, ranks: Sequence[Ranks], examples: int) -> None:
    """Put two thin products in the place of each that has a rank, in place: the best of that rank on what the model, as
    it is, is given on `examples` training examples. ranks: for each layer."""
    wanted = {
        layer.path_of(name): rank
        for layer, given in zip(layers_of(model), ranks, strict=True)
        for name, rank in given.items()
    }
    if not wanted:
        return
    modules = {path: cast(nn.Linear, model.get_submodule(path)) for path in wanted}
    for path, decomposition in decompositions(model, context, modules, examples):
        bias = modules[path].bias
        up, down = decomposition.factors(wanted[path])
        replace_module(model, path, LowRankLinear.of(up, down, None if bias is None else bias.detach()))


def ranks_of(model: PreTrainedModel) -> list[Ranks]:
    """The ranks of each layer's products that are two thin ones."""
    parts = [{name: layer.part(name) for name in may_be_thin(layer)} for layer in layers_of(model)]
    return [{name: part.rank for name, part in layer.items() if isinstance(part, LowRankLinear)} for layer in parts]


def may_be_thin(layer: Layer) -> list[str]:
    """The products of this layer that may become two thin ones: fewer where a block was dropped."""
    return [name for name in (*ATTENTION_PRODUCTS, *FFN_PRODUCTS) if name in layer.parts]
