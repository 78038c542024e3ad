"""Channels between two products that may be scaled on one side and back on the other: the model's function stays.

That is free where what lies between the two is linear in each channel but for a factor above 0: attention mixes the
positions of its values and no channels, ReLU passes a factor on. After a normalisation it is not: its output goes past
the product as well, to be added later, and would have to be scaled back there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.nn.family import Layer, layers_of
from compress.nn.layers.fused_layer import FusedLayer
from compress.nn.layers.low_rank_linear import LowRankLinear


@dataclass(frozen=True)
class Pair:
    """Paths of two dense layers: the last outputs of `producer`, as many as `consumer` has inputs, are what it reads,
    channel by channel."""

    producer: str
    consumer: str


def scalable_pairs(model: PreTrainedModel) -> tuple[list[Pair], list[str]]:
    """All pairs between which channels may be scaled, and the paths of second FFN products that belong to none, because
    another activation than ReLU lies before them.

    Value and attention output, and the two products of an FFN with ReLU, in fused layers and in others; of a product
    that was factorized, the factor on that side. Then the two factors of each factorized product.
    """
    pairs, others = [], []
    for pair, activation in _pairs(model):
        if activation is None or isinstance(activation, nn.ReLU):
            pairs.append(pair)
        else:
            others.append(pair.consumer)
    factorized = [path for path, module in model.named_modules() if isinstance(module, LowRankLinear)]
    return [*pairs, *(Pair(f"{path}.down", f"{path}.up") for path in factorized)], others


def read_after_relu(model: PreTrainedModel) -> list[str]:
    """The paths of the dense layers that read what an FFN's ReLU gave: nothing below 0."""
    return [pair.consumer for pair, activation in _pairs(model) if isinstance(activation, nn.ReLU)]


@torch.no_grad()
def scale_between(model: nn.Module, pair: Pair, factors: Tensor) -> None:
    """Divide what goes from one layer to the other by these factors, and multiply the weights that read it, in place.

    factors: (channels,), greater than 0.
    """
    producer, consumer = (model.get_submodule(path) for path in (pair.producer, pair.consumer))
    assert isinstance(producer, nn.Linear) and isinstance(consumer, nn.Linear)
    factors = factors.to(consumer.weight)
    producer.weight[-len(factors) :] /= factors[:, None]
    if producer.bias is not None:
        producer.bias[-len(factors) :] /= factors
    consumer.weight *= factors


def _pairs(model: PreTrainedModel) -> list[tuple[Pair, nn.Module | None]]:
    """For both blocks of each layer, where they were not dropped: the products before and after attention, or before
    and after the activation, which is given too. Of neurons in which two products meet it is the one that is not
    activated, and no activation is given. Values that several heads share are left out, and those that lie by head."""
    found: list[tuple[Pair, nn.Module | None]] = []
    for layer in layers_of(model):
        fused = isinstance(layer.module, FusedLayer)
        for producer, consumer, activation in _fused_pairs(layer.module) if fused else _plain_pairs(layer):
            paths = [f"{layer.path}.{name}" if fused else layer.path_of(name) for name in (producer, consumer)]
            found.append((_pair(model, *paths), activation))
    return found


def _fused_pairs(module: nn.Module) -> list[tuple[str, str, nn.Module | None]]:
    assert isinstance(module, FusedLayer)
    sizes = module.sizes
    # The values are the last that the product gives which computes them.
    value = "value" if sizes.separate else "key_value" if sizes.first_token else "query_key_value"
    attention = [(value, "attention_output", None)] if sizes.heads else []
    return [*attention, *([("ffn_in", "ffn_out", module.activation)] if sizes.neurons else [])]


def _plain_pairs(layer: Layer) -> list[tuple[str, str, nn.Module | None]]:
    found: list[tuple[str, str, nn.Module | None]] = []
    if layer.heads and layer.family.sharing(layer.config) == 1:
        # Values between the queries and keys of other heads are not the last outputs.
        values = [name for name in layer.attention_inputs if name in ("value", "query_key_value")]
        found += [(value, "attention_output", None) for value in values]
    if layer.neurons:
        inner = next(name for name in layer.ffn_inputs if name in ("ffn_in", "ffn_gate_and_in"))
        found.append((inner, "ffn_out", None if layer.family.ffn.gated else layer.part("activation")))
    return found


def _pair(model: nn.Module, producer: str, consumer: str) -> Pair:
    """Of a factorized product, the factor on the side of the other."""
    if isinstance(model.get_submodule(producer), LowRankLinear):
        producer = f"{producer}.up"
    if isinstance(model.get_submodule(consumer), LowRankLinear):
        consumer = f"{consumer}.down"
    return Pair(producer, consumer)
