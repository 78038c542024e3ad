"""Timing layers that have no fused form: shallow models of the family itself, with no table of words to speak of."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.latency_table import LatencyTable
from compress.nn.family import base_of, family_of, layers_of
from compress.nn.fusion import LayerSizes
from compress.nn.structure import replace_module
from compress.nn.surgery import drop_attention, drop_ffn, keep_heads, keep_layers, keep_neurons

FEW_WORDS = {"vocab_size": 8, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}


def shallow_models(
    model: PreTrainedModel, layer: LayerSizes, depth: int, shares: Sequence[float]
) -> Iterator[tuple[tuple[str, int], PreTrainedModel]]:
    """Models of `depth` layers, by curve and size: without either block (`dropped`), with attention alone, of some of
    the heads of `layer`, and with FFNs alone, of some of its neurons. And a single layer without either (`call`): some
    families cannot be called with none. One at a time: each is as large as its layers."""
    whole = _shallow(model, layer, depth)
    yield ("call", 0), _cut(whole, depth=1)
    yield ("dropped", 0), _cut(whole)
    for heads in sorted({max(1, round(layer.heads * share)) for share in shares}):
        yield ("attention", heads), _cut(whole, heads=heads)
    for neurons in sorted({max(1, round(layer.neurons * share)) for share in shares}):
        yield ("ffn", neurons), _cut(whole, neurons=neurons)


def without_blocks(model: PreTrainedModel) -> PreTrainedModel:
    """What no cutting changes, and a layer without either block, in place."""
    keep_layers(model, [0])
    (layer,) = layers_of(model)
    drop_attention(model, layer)
    drop_ffn(model, layer)
    return model


def unfused_table(teacher: float, costs: Mapping[tuple[str, int], float], depth: int) -> LatencyTable:
    """The table from the milliseconds of those models, and of the whole one `without_blocks` (`fixed`). What is left of
    a layer without either block is two dropped ones; each of the others is a block beside one that was dropped."""
    left = max(0.0, costs["dropped", 0] - costs["call", 0]) / max(depth - 1, 1) / 2
    call = costs["call", 0] - 2 * left

    def curve(name: str) -> dict[int, float]:
        blocks = {size: (cost - call) / depth - left for (part, size), cost in costs.items() if part == name}
        return {0: left} | {size: max(0.0, cost) for size, cost in blocks.items()}

    return LatencyTable(
        teacher=teacher,
        fixed=max(0.0, costs["fixed", 0] - 2 * left),
        attention=curve("attention"),
        ffn=curve("ffn"),
        last_attention={},
        last_ffn={},
    )


def _shallow(model: PreTrainedModel, layer: LayerSizes, depth: int) -> PreTrainedModel:
    """A model like this one with fewer layers, each with all heads and with the neurons of `layer`. Weights are random:
    no kernel's speed depends on them."""
    family, config = family_of(model.config), copy.deepcopy(model.config)
    for field in family.layer_lists:
        entries = getattr(config, field)
        setattr(config, field, entries if entries is None else entries[:depth])
    neurons = family.ffn_setting(config, layer.neurons)
    values = {family.layers_field: depth, family.ffn_field: neurons, family.activation_field: layer.activation}
    for field, value in values.items():
        setattr(config, field, value)
    if family.decoder is not None and model.get_output_embeddings() is not None:
        # Of what it says next it reads some again, and its head is no layer's either: a table of few words is both.
        for field, value in FEW_WORDS.items():
            setattr(config, field, value)
        return type(model)(config).eval()
    made = type(model)(config).eval()
    assert isinstance(made, PreTrainedModel)
    if family.words is not None:
        words = base_of(made).get_submodule(family.words)
        assert isinstance(words, nn.Embedding)
        replace_module(made, f"{made.base_model_prefix}.{family.words}", _OneWord(words.embedding_dim))
    return made


def _cut(whole: PreTrainedModel, *, depth: int | None = None, heads: int = 0, neurons: int = 0) -> PreTrainedModel:
    """A copy with so many heads and neurons in each layer, none of a block where 0."""
    model = copy.deepcopy(whole)
    if depth is not None:
        keep_layers(model, range(depth))
    for layer in layers_of(model):
        if heads:
            keep_heads(model, layer, torch.arange(heads))
        else:
            drop_attention(model, layer)
        if neurons:
            keep_neurons(model, layer, torch.arange(neurons))
        else:
            drop_ffn(model, layer)
    return model


class _OneWord(nn.Module):
    """A table of one row, read for every token: what the real one costs is no layer's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, width))

    def forward(self, tokens: Tensor) -> Any:
        return nn.functional.embedding(tokens.clamp(max=0), self.weight)
