"""Where heads, neurons and layers live in a family of models."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from compress.core.checks import nearest
from compress.core.errors import InputError
from compress.nn import families
from compress.nn.block import BY_HEAD, OUTPUTS, AttentionBlock, Decoder, Embeddings, FeedForwardBlock
from compress.nn.layers.dropped import NoAttention, Nothing


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row of facts about `model_type`.

    layers: path of the list of layers, from the model's base. attention, ffn: the blocks of each layer. *_field: what
    the configuration calls the number of layers, heads, the hidden width, the FFN's width and its activation; and where
    there are such, the number of keys and values that heads share, and the width of a head, which is otherwise the
    hidden width divided by the heads. ffn_ratio: whether `ffn_field` says how many times the hidden width the FFN's is.
    layer_lists: what of the configuration has an entry for each layer. output_names: what of it names the embeddings'
    output and each layer's, so as to say which of them a backbone gives. layer_periods: what of it says, to readers
    that know no such list, after how many layers there is one of the given type again, beginning with the first.
    first_layer: why the first layer cannot leave, where that is so. mirrors: what of it follows the hidden width where
    it is the same. fixed_width: why the hidden width cannot change, where that is so. attention_mask: `padding`, where
    that is all that keeps a position from seeing another, so that one additive mask serves all layers; `own`, where the
    model makes masks itself, such as for windows. finds_padding: whether a classifier looks for padding by that token's
    number, because it reads the last token before it. bfloat16: whether the library's code of it computes where
    products are in bfloat16. decoder: where a model of this family can say what comes next. required: what a
    configuration must say of a setting for this table to be right, and what it would mean otherwise; one that is not
    there is off. typical: settings without which a small model would not be one of this family.
    """

    model_type: str
    layers: str
    attention: AttentionBlock
    ffn: FeedForwardBlock
    embeddings: Embeddings
    layers_field: str = "num_hidden_layers"
    heads_field: str = "num_attention_heads"
    hidden_field: str = "hidden_size"
    ffn_field: str = "intermediate_size"
    ffn_ratio: bool = False
    activation_field: str = "hidden_act"
    sharing_field: str | None = None
    head_size_field: str | None = None
    layer_lists: tuple[str, ...] = ()
    output_names: str | None = None
    layer_periods: Mapping[str, str] = field(default_factory=dict)
    first_layer: str | None = None
    mirrors: tuple[str, ...] = ()
    fixed_width: str | None = None
    attention_mask: str = "padding"
    finds_padding: bool = False
    bfloat16: bool = True
    decoder: Decoder | None = None
    required: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    typical: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def paths(self) -> Mapping[str, str]:
        """Where each part of a layer is, from the layer: matrices as in OUTPUTS, `attention_output`, `ffn_out`, the two
        norms, the `attention` module and the `activation`."""
        return {
            **self.attention.inputs,
            "attention_output": self.attention.output,
            **self.ffn.inputs,
            "ffn_out": self.ffn.output,
            "attention": self.attention.module,
            "attention_norm": self.attention.norm,
            "ffn_norm": self.ffn.norm,
            "activation": self.ffn.activation,
        }

    @property
    def words(self) -> str | None:
        """Path of the word embeddings, from the base; None where the model reads no tokens."""
        table = self.embeddings.words
        return table if table is None else f"{self.embeddings.module}.{table}".rstrip(".")

    @property
    def fusable(self) -> bool:
        """Whether a layer of this family has a fused form."""
        blocks = (self.attention, self.ffn)
        return (
            self.attention.plain
            and not self.ffn.gated
            and self.sharing_field is None
            and self.head_size_field is None
            and {"query", "key", "value"} == set(self.attention.inputs)
            and not any(block.rms for block in blocks)
        )

    @property
    def tells_heads(self) -> bool:
        """Whether a configuration can say that every layer has fewer heads, each as wide as before."""
        return self.head_size_field is not None and self.attention.fixed_heads is None

    def head_size(self, config: PretrainedConfig) -> int:
        """The width of one head. Cutting heads never changes it."""
        if self.head_size_field is not None:
            return int(getattr(config, self.head_size_field))
        return int(getattr(config, self.hidden_field)) // int(getattr(config, self.heads_field))

    def ffn_setting(self, config: PretrainedConfig, neurons: int) -> int | None:
        """What `ffn_field` says of FFNs of this width; None where it cannot say it."""
        if not self.ffn_ratio:
            return neurons
        ratio, rest = divmod(neurons, int(getattr(config, self.hidden_field)))
        return None if rest else ratio

    def sharing(self, config: PretrainedConfig) -> int:
        """How many heads of the queries share one key and value."""
        heads = int(getattr(config, self.heads_field))
        return 1 if self.sharing_field is None else heads // int(getattr(config, self.sharing_field))

    def shares_all(self, config: PretrainedConfig) -> bool:
        """Whether all heads share the one key and value there is."""
        return self.sharing_field is not None and int(getattr(config, self.sharing_field)) == 1


@dataclass(frozen=True)
class Layer:
    """One layer's modules. `path` is its place in the whole model, `config` that model's configuration."""

    path: str
    module: nn.Module
    family: Family
    config: PretrainedConfig

    def part(self, name: str) -> nn.Module:
        """A module by its name in `Family.paths`: `query`, `ffn_in`, ..."""
        return self.module.get_submodule(self.family.paths[name])

    def path_of(self, name: str) -> str:
        """Its path in the whole model."""
        return f"{self.path}.{self.family.paths[name]}"

    def weight(self, name: str) -> Tensor:
        """The weights (out, in) of a dense part, detached, on the CPU; times its scale, where it has one."""
        weight, scale = self.part(name).weight, self.scale(name)
        assert isinstance(weight, Tensor)
        return weight.detach().cpu() if scale is None else (weight * scale[:, None]).detach().cpu()

    def scale(self, name: str) -> Tensor | None:
        """What multiplies the outputs of a part before they are added, (out,); None where nothing does."""
        paths = {"attention_output": self.family.attention.scale, "ffn_out": self.family.ffn.scale}
        path = paths.get(name)
        return None if path is None else self.module.get_parameter(path)

    @property
    def heads(self) -> int:
        """How many heads the layer has now that can be cut one by one; 0 where its attention was dropped.

        Heads that share a key and a value count as one: they leave together. Where all of them share the same, each is
        one, and that key and value stay. Where none can leave alone, all of them are one.
        """
        if isinstance(self.part("attention"), NoAttention):
            return 0
        return cast(int, self.part("attention_output").in_features) // self.head_width

    @property
    def head_width(self) -> int:
        """How many inputs of the attention's output projection belong to each of `heads`."""
        size = self.family.head_size(self.config)
        if self.family.attention.fixed_heads is not None:
            return size * int(getattr(self.config, self.family.heads_field))
        return size if self.family.shares_all(self.config) else size * self.family.sharing(self.config)

    @property
    def shared_width(self) -> int:
        """How many outputs of the keys, and of the values, belong to each of `heads`; 0 where all share the same."""
        family = self.family
        return 0 if family.shares_all(self.config) else self.head_width // family.sharing(self.config)

    @property
    def query_heads(self) -> int:
        """How many heads of the queries the layer has now, which may be more than `heads`."""
        return self.heads * self.head_width // self.family.head_size(self.config)

    @property
    def neurons(self) -> int:
        """How many FFN neurons the layer has now; 0 where its FFN was dropped."""
        module = self.family.ffn.module
        if module is not None and isinstance(self.module.get_submodule(module), Nothing):
            return 0
        outer = self.part("ffn_out")
        return 0 if isinstance(outer, Nothing) else cast(int, outer.in_features)

    @property
    def attention_inputs(self) -> tuple[str, ...]:
        """The names of the matrices that read the attention's input; none where it was dropped."""
        return tuple(self.family.attention.inputs) if self.heads else ()

    @property
    def ffn_inputs(self) -> tuple[str, ...]:
        """The names of the matrices that read the FFN's input; none where it was dropped."""
        return tuple(self.family.ffn.inputs) if self.neurons else ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all its matrices: fewer where a block was dropped."""
        attention = (*self.attention_inputs, "attention_output") if self.heads else ()
        return (*attention, *((*self.ffn_inputs, "ffn_out") if self.neurons else ()))

    def ranges(self, name: str) -> list[tuple[str, int, int]]:
        """What the outputs of a matrix that reads a block's input are, see OUTPUTS: each range as (`heads`, `shared`
        or `neurons`; its first; its last + 1)."""
        shared = self.heads * self.shared_width if self.shared_width else self.family.head_size(self.config)
        widths = {"heads": self.heads * self.head_width, "shared": shared, "neurons": self.neurons}
        found, start = [], 0
        for what in OUTPUTS[name]:
            found.append((what, start, start + widths[what]))
            start += widths[what]
        return found

    def rows(self, name: str) -> list[Tensor]:
        """The numbers of those outputs, where they do not lie in ranges either."""
        ranges = self.ranges(name)
        if name not in BY_HEAD:
            return [torch.arange(start, end) for _, start, end in ranges]
        size = self.family.head_size(self.config)
        by_head = torch.arange(ranges[-1][2]).view(self.query_heads, len(ranges), size)
        return [by_head[:, number].flatten() for number in range(len(ranges))]

    def weights_of(self, what: str) -> list[Tensor]:
        """The rows (width, hidden) that give `heads`, `shared` or `neurons`, of every matrix that gives them."""
        names = self.ffn_inputs if what == "neurons" else self.attention_inputs
        return [
            self.weight(name)[rows]
            for name in names
            for found, rows in zip(OUTPUTS[name], self.rows(name), strict=True)
            if found == what
        ]


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
    """The table for this model type. Raises UnknownFamilyError where there is none."""
    known = known_families()
    if model_type not in known:
        raise UnknownFamilyError(model_type)
    return known[model_type]


def require_known_form(config: PretrainedConfig, place: str) -> None:
    """Raise InputError where a model of this configuration is built otherwise than its family's table says. place:
    where the configuration was found."""
    family = family_of(config)
    for name, (value, meaning) in family.required.items():
        found = getattr(config, name, type(value)())
        if found != value:
            raise InputError(
                f"{place} has {name}={found}, so {meaning}; of {family.model_type} models those with {name}={value} "
                "can be compressed here. Use one of them."
            )


class UnknownFamilyError(InputError):
    """A type of model that there is no table for. setting: which names its folder."""

    def __init__(self, model_type: str, setting: str = "model.path") -> None:
        known = known_families()
        # What Transformers knows is no slip of typing, however alike the names are.
        hint = "" if model_type in CONFIG_MAPPING_NAMES else nearest(model_type, known)
        super().__init__(
            f"{setting} holds a model of type {model_type!r}; supported are {', '.join(sorted(known))}. "
            f"{hint or 'A new family is one table in compress/nn/families.'}"
        )
        self.model_type = model_type


def tells_pairs_apart(config: PretrainedConfig) -> bool:
    """Whether a model of this configuration reads for each token which of two texts it is of, by an embedding."""
    return family_of(config).embeddings.types is not None and int(config.type_vocab_size) > 1


def base_of(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder under a task's head."""
    return getattr(model, model.base_model_prefix)


def layers_of(model: PreTrainedModel) -> list[Layer]:
    """The layers, in order."""
    family = family_of(model.config)
    prefix = f"{model.base_model_prefix}.{family.layers}"
    modules = model.get_submodule(prefix)
    assert isinstance(modules, nn.ModuleList)
    return [Layer(f"{prefix}.{i}", module, family, model.config) for i, module in enumerate(modules)]


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
    return family_of(model.config).head_size(model.config)


def part_of_path(model: PreTrainedModel, path: str) -> str:
    """`embeddings`, `attention`, `ffn` or `other`: where the parameter or module at `path` belongs."""
    family = family_of(model.config)
    if path.startswith(f"{model.base_model_prefix}.{family.embeddings.module}."):
        return "embeddings"
    if not path.startswith(f"{model.base_model_prefix}.{family.layers}."):
        return "other"
    inside = path.removeprefix(f"{model.base_model_prefix}.{family.layers}.").partition(".")[2]
    # The second two are what a fused layer calls them.
    ffn = (*family.ffn.inputs.values(), family.ffn.output, "ffn_in", "ffn_out")
    return "ffn" if any(inside.startswith(f"{name}.") for name in ffn) else "attention"
