"""Layers and embeddings rewritten as fewer operators: the same function, for a model that will not be trained again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.nn.block import Embeddings
from compress.nn.family import Layer, base_of, family_of, head_size, last_attending, layers_of
from compress.nn.layers.fused_embeddings import FusedEmbeddings, FusedEmbeddingsSizes
from compress.nn.layers.fused_layer import ACTIVATIONS, FusedLayer, FusedLayerSizes
from compress.nn.layers.low_rank_embedding import LowRankEmbedding
from compress.nn.layers.low_rank_linear import LowRankLinear
from compress.nn.scale import fold_scales
from compress.nn.structure import replace_module

# What a fused layer takes over from each block as it is.
ATTENTION, FFN = ("attention_output",), ("ffn_in", "ffn_out")

# What a fused layer calls its products, in all of its forms, and fused embeddings their tables.
PRODUCTS = ("query_key_value", "key_value", "query", "key", "value", "attention_output", "ffn_in", "ffn_out")
TABLES = ("word_embeddings", "positions", "types")


@dataclass(frozen=True)
class LayerSizes:
    """What is asked of a latency table for layers without a fused form. heads, neurons: the most that any layer has, as
    `Layer` counts them. activation: as Transformers calls it."""

    heads: int
    neurons: int
    activation: str


def fused_paths(model: PreTrainedModel) -> list[str]:
    """Where dense layers and tables may lie once layers and embeddings are fused; none without a fused form."""
    family = family_of(model.config)
    if not family.fusable:
        return []
    embeddings = f"{model.base_model_prefix}.{family.embeddings.module}"
    return [
        *(f"{layer.path}.{name}" for layer in layers_of(model) for name in PRODUCTS),
        *(f"{embeddings}.{name}" for name in TABLES),
    ]


def require_fused_form(model: PreTrainedModel, setting: str, way_out: str) -> None:
    """Raise InputError for a family whose layers have no fused form. setting: what asked for it."""
    family = family_of(model.config)
    if not family.fusable:
        raise InputError(
            f"{setting} needs layers that can be fused, and those of a {family.model_type} model have no fused form. "
            f"{way_out}"
        )


def fuse_layers(model: PreTrainedModel, *, first_token: bool) -> None:
    """Replace every layer by a FusedLayer, in place. first_token: the last one for the first token only, and with it
    all from the last one that has attention on."""
    layers = layers_of(model)
    sizes = [fused_sizes(model, layer) for layer in layers]
    if first_token:
        start = last_attending(layers)
        sizes[start:] = [replace(size, first_token=1) for size in sizes[start:]]
    fold_scales(model)
    for layer, size in zip(layers, sizes, strict=True):
        replace_module(model, layer.path, _fused(layer, size))


def fuse_embeddings(model: PreTrainedModel, *, types: bool) -> bool:
    """Replace the embeddings by FusedEmbeddings, in place. False, and nothing done, where there are none of words, or
    positions do not start at 0: they then depend on the tokens. types: whether the model is told the type of each
    token; else all are of the first."""
    table_of = family_of(model.config).embeddings
    if not table_of.from_zero:
        return False
    source = base_of(model).get_submodule(table_of.module)
    assert table_of.norm is not None and table_of.words is not None and table_of.positions is not None
    norm, words, positions = (
        source.get_submodule(path) for path in (table_of.norm, table_of.words, table_of.positions)
    )
    assert isinstance(norm, nn.LayerNorm) and isinstance(positions, nn.Embedding)
    assert isinstance(words, nn.Embedding | LowRankEmbedding)
    exponent = _exponent(norm)
    shape = (words.num_embeddings, positions.num_embeddings, words.embedding_dim, exponent)
    rows = positions.weight.new_zeros(1, words.embedding_dim) if table_of.types is None else _types(source, table_of)
    fused = FusedEmbeddings(FusedEmbeddingsSizes(*shape, types=len(rows) if types else 1))
    table = positions.weight.detach()
    with torch.no_grad():
        if fused.sizes.types > 1:
            fused.types.weight.copy_(rows)
        else:
            table = table + rows[0]
        fused.positions.weight.copy_(table)
    fused.word_embeddings = words
    fused.norm.load_state_dict(norm.state_dict())
    replace_module(model, f"{model.base_model_prefix}.{table_of.module}", fused)
    return True


def _types(source: nn.Module, table_of: Embeddings) -> Tensor:
    """The embeddings of the token types, (types, width)."""
    assert table_of.types is not None
    table = source.get_submodule(table_of.types)
    assert isinstance(table, nn.Embedding)
    return table.weight.detach()


def fused_sizes(model: PreTrainedModel, layer: Layer, activation: str | None = None) -> FusedLayerSizes:
    """The sizes of a layer's fused form, with another activation where one is given.

    Raises InputError where its activation or normalisation, or its family, has none.
    """
    require_fused_form(model, "fuse", "Leave fuse out of order.")
    activation = activation or getattr(model.config, layer.family.activation_field)
    if activation not in ACTIVATIONS:
        raise InputError(
            f"the model's activation is {activation!r}; layers with {', '.join(ACTIVATIONS)} can be fused. "
            "Leave fuse out of order."
        )
    norm = layer.part("attention_norm")
    assert isinstance(norm, nn.LayerNorm)
    projections = [part for part in ("query", "key", "value") if part in layer.parts]
    whole = all(isinstance(layer.part(part), nn.Linear) for part in projections)
    return FusedLayerSizes(
        hidden=int(norm.normalized_shape[0]),
        heads=layer.heads,
        head_size=head_size(model),
        neurons=layer.neurons,
        activation=ACTIVATIONS.index(activation),
        epsilon_exponent=_exponent(norm),
        first_token=0,
        separate=int(not whole),
        pre_norm=int(layer.family.attention.position == "pre"),
    )


def widest_sizes(model: PreTrainedModel, activation: str | None = None) -> FusedLayerSizes | LayerSizes:
    """The sizes of a layer with the most heads and the most neurons that any layer of the model has: fused, where there
    is such a form."""
    layers, family = layers_of(model), family_of(model.config)
    heads, neurons = max(layer.heads for layer in layers), max(layer.neurons for layer in layers)
    if not family.fusable:
        return LayerSizes(heads, neurons, activation or str(getattr(model.config, family.activation_field)))
    return replace(fused_sizes(model, layers[0], activation), heads=heads, neurons=neurons)


def _fused(layer: Layer, sizes: FusedLayerSizes) -> FusedLayer:
    fused = FusedLayer(sizes)
    for norm, names, there in (("attention_norm", ATTENTION, sizes.heads), ("ffn_norm", FFN, sizes.neurons)):
        for name in (*([norm] if there or not sizes.pre_norm else []), *(names if there else ())):
            setattr(fused, name, layer.part(name))
    if not sizes.heads:
        return fused
    scale = sizes.head_size**-0.5
    with torch.no_grad():
        if sizes.separate:
            fused.query, fused.key, fused.value = (_with_bias(layer.part(part)) for part in ("query", "key", "value"))  # type: ignore[assignment]
            last = getattr(fused.query, "up", fused.query)
            last.weight.mul_(scale)
            last.bias.mul_(scale)
            return fused
        query, key, value = (_affine(layer.part(part)) for part in ("query", "key", "value"))
        query = (query[0] * scale, query[1] * scale)
        if sizes.first_token:
            _fill(fused.query, query)
            _fill(fused.key_value, key, value)
        else:
            _fill(fused.query_key_value, query, key, value)
    return fused


def _with_bias(module: nn.Module) -> nn.Module:
    """The same function with a bias, of zeros where there was none: a fused layer's products all have one."""
    if isinstance(module, LowRankLinear):
        return LowRankLinear.of(module.up.weight, module.down.weight, _affine(module.up)[1])
    assert isinstance(module, nn.Linear)
    if module.bias is None:
        module.bias = nn.Parameter(_affine(module)[1])
    return module


def _affine(linear: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(linear, nn.Linear)
    bias = linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
    return linear.weight, bias


def _fill(linear: nn.Module, *parts: tuple[Tensor, Tensor]) -> None:
    assert isinstance(linear, nn.Linear)
    linear.weight.copy_(torch.cat([weight for weight, _ in parts]))
    linear.bias.copy_(torch.cat([bias for _, bias in parts]))


def _exponent(norm: nn.LayerNorm) -> int:
    exponent = round(-math.log10(norm.eps))
    if not math.isclose(norm.eps, 10.0**-exponent, rel_tol=1e-6):
        raise InputError(f"the model's layer_norm_eps is {norm.eps}; only powers of ten can be fused. Leave fuse out.")
    return exponent
