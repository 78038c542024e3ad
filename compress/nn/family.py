"""Where heads, neurons and layers live in a family of models."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import cast

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from compress.core.checks import nearest
from compress.core.errors import InputError
from compress.nn import families
from compress.nn.layers.dropped import NoAttention, Nothing


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row of facts about `model_type`.

    layers: path of the list of layers, from the model's base. The other paths start at a layer: `query`, `key`,
    `value`, `attention_output`, `ffn_in`, `ffn_out` are dense layers, `attention_norm` and `ffn_norm` normalise the sum
    of what `attention_output` and `ffn_out` give and what went past them; `attention` is the module that holds the head
    counts named in `head_attributes` (number of heads) and `width_attributes` (heads times head size).
    *_field: what the configuration calls the number of layers, heads, the hidden width and the FFN's width.
    embeddings: path of the embeddings' module, from the base; from there `word_embeddings`, `position_embeddings`,
    `type_embeddings` (None where there are none) and `embeddings_norm`. positions_from_zero: whether the first token's
    position is 0, whatever the tokens are. activation: path of the FFN's activation, activation_field: what the
    configuration calls it. attention_mask: `padding`, where that is all that keeps a position from seeing another, so
    that one additive mask serves all layers; `own`, where the model makes masks itself, such as for windows.
    """

    model_type: str
    layers: str
    attention: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    ffn_in: str
    ffn_out: str
    ffn_norm: str
    head_attributes: tuple[str, ...]
    width_attributes: tuple[str, ...]
    layers_field: str
    heads_field: str
    hidden_field: str
    ffn_field: str
    embeddings: str
    word_embeddings: str
    position_embeddings: str
    type_embeddings: str | None
    embeddings_norm: str
    positions_from_zero: bool
    activation: str
    activation_field: str
    attention_mask: str = "padding"


@dataclass(frozen=True)
class Layer:
    """One layer's modules. `path` is its place in the whole model."""

    path: str
    module: nn.Module
    family: Family

    def part(self, name: str) -> nn.Module:
        """A module by its name in the table: `query`, `ffn_in`, ..."""
        return self.module.get_submodule(getattr(self.family, name))

    def path_of(self, name: str) -> str:
        """Its path in the whole model."""
        return f"{self.path}.{getattr(self.family, name)}"

    def weight(self, name: str) -> Tensor:
        """The weights (out, in) of a dense part, detached, on the CPU."""
        weight = self.part(name).weight
        assert isinstance(weight, Tensor)
        return weight.detach().cpu()

    @property
    def heads(self) -> int:
        """How many attention heads the layer has now; 0 where its attention was dropped."""
        attention = self.part("attention")
        return 0 if isinstance(attention, NoAttention) else int(getattr(attention, self.family.head_attributes[0]))

    @property
    def neurons(self) -> int:
        """How many FFN neurons the layer has now; 0 where its FFN was dropped."""
        inner = self.part("ffn_in")
        return 0 if isinstance(inner, Nothing) else cast(int, inner.out_features)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the dense parts it has: fewer than PARTS where a block was dropped."""
        return (*(PARTS[:4] if self.heads else ()), *(PARTS[4:] if self.neurons else ()))


PARTS = ("query", "key", "value", "attention_output", "ffn_in", "ffn_out")


@cache
def known_families() -> dict[str, Family]:
    """Every table in `compress.nn.families`, by model type."""
    tables = [table for module in _family_modules() for table in module.FAMILIES]
    return {table.model_type: table for table in tables}


def family_modules() -> dict[str, str]:
    """The module that holds the table of each model type."""
    return {table.model_type: module.__name__ for module in _family_modules() for table in module.FAMILIES}


def _family_modules() -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(families.__path__):
        yield importlib.import_module(f"{families.__name__}.{module.name}")


def family_of(config: PretrainedConfig) -> Family:
    """The table for this configuration. Raises InputError for a model type that has none."""
    return family_of_type(config.model_type)


def family_of_type(model_type: str) -> Family:
    """The table for this model type. Raises InputError where there is none."""
    known = known_families()
    if model_type not in known:
        hint = nearest(model_type, known) or "A new family is one table in compress/nn/families."
        raise InputError(
            f"model.path holds a model of type {model_type!r}; supported are {', '.join(sorted(known))}. {hint}"
        )
    return known[model_type]


def base_of(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder under a task's head."""
    return getattr(model, model.base_model_prefix)


def layers_of(model: PreTrainedModel) -> list[Layer]:
    """The layers, in order."""
    family = family_of(model.config)
    prefix = f"{model.base_model_prefix}.{family.layers}"
    modules = model.get_submodule(prefix)
    assert isinstance(modules, nn.ModuleList)
    return [Layer(f"{prefix}.{i}", module, family) for i, module in enumerate(modules)]


def output_projections(layers: Sequence[Layer]) -> dict[str, nn.Module]:
    """The projections that add to the hidden states, by path: two a layer, but for blocks that were dropped."""
    return {
        layer.path_of(part): layer.part(part)
        for layer in layers
        for part in ("attention_output", "ffn_out")
        if part in layer.parts
    }


def last_attending(layers: Sequence[Layer]) -> int:
    """The number of the last layer that has attention: after it no position sees another. 0 where none has."""
    return max((number for number, layer in enumerate(layers) if layer.heads), default=0)


def dense_layers(model: PreTrainedModel) -> Iterator[tuple[str, nn.Linear]]:
    """Every part of a model's layers that is one float matrix, (path, module): neither factorized nor in int8."""
    for layer in layers_of(model):
        for part in layer.parts:
            module = layer.part(part)
            if isinstance(module, nn.Linear):
                yield layer.path_of(part), module


def hidden_size(model: PreTrainedModel) -> int:
    """The width of the hidden states."""
    return int(getattr(model.config, family_of(model.config).hidden_field))


def head_size(model: PreTrainedModel) -> int:
    """The width of one head. Pruning heads never changes it."""
    return hidden_size(model) // int(getattr(model.config, family_of(model.config).heads_field))


def part_of_path(model: PreTrainedModel, path: str) -> str:
    """`embeddings`, `attention`, `ffn` or `other`: where the parameter or module at `path` belongs."""
    family = family_of(model.config)
    if path.startswith(f"{model.base_model_prefix}.{family.embeddings}."):
        return "embeddings"
    if not path.startswith(f"{model.base_model_prefix}.{family.layers}."):
        return "other"
    inside = path.removeprefix(f"{model.base_model_prefix}.{family.layers}.").partition(".")[2]
    # The second two are what a fused layer calls them.
    ffn = (family.ffn_in, family.ffn_out, "ffn_in", "ffn_out")
    return "ffn" if any(inside.startswith(f"{name}.") for name in ffn) else "attention"
