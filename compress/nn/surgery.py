"""Cutting: heads, neurons, layers and the hidden width really leave the model, which stays a plain dense one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from compress.core.errors import InputError
from compress.nn.family import Layer, family_of, head_size, layers_of
from compress.nn.layers.dropped import NoAttention, Nothing
from compress.nn.layers.masked_linear import MaskedLinear
from compress.nn.ops.importance import head_magnitude
from compress.nn.ops.masks import strongest
from compress.nn.sentence_encoder import SentenceEncoder
from compress.nn.structure import replace_module, structure_of


def keep_heads(model: PreTrainedModel, layer: Layer, heads: Tensor) -> None:
    """Keep these heads (indices among `Layer.heads`, ascending) of one layer, in place, each with the key and value
    that belong to it."""
    size, columns = head_size(model), _spread(heads, layer.head_width)
    kept = {"heads": columns}
    if layer.shared_width:
        kept["shared"] = _spread(heads, layer.shared_width)
    for part in layer.attention_inputs:
        replace_module(model, layer.path_of(part), _select(layer.part(part), rows=_rows(layer, part, kept)))
    replace_module(model, layer.path_of("attention_output"), _select(layer.part("attention_output"), columns=columns))
    attention, block = layer.part("attention"), layer.family.attention
    queries = len(columns) // size
    numbers = {
        **dict.fromkeys(block.head_attributes, queries),
        **dict.fromkeys(block.width_attributes, len(columns)),
        **dict.fromkeys(block.sharing_attributes, queries // (len(kept.get("shared", ())) // size or 1)),
    }
    for name, number in numbers.items():
        setattr(attention, name, number)


def keep_neurons(model: PreTrainedModel, layer: Layer, neurons: Tensor) -> None:
    """Keep these FFN neurons (indices, ascending) of one layer, in place."""
    for part in layer.ffn_inputs:
        rows = _rows(layer, part, {"neurons": neurons})
        replace_module(model, layer.path_of(part), _select(layer.part(part), rows=rows))
    replace_module(model, layer.path_of("ffn_out"), _select(layer.part("ffn_out"), columns=neurons))


def drop_attention(model: PreTrainedModel, layer: Layer) -> None:
    """Drop the attention block of one layer, in place: a normalisation after the sum stays."""
    block = layer.family.attention
    replace_module(model, layer.path_of("attention"), NoAttention())
    if not block.output.startswith(f"{block.module}."):
        replace_module(model, layer.path_of("attention_output"), Nothing())


def drop_ffn(model: PreTrainedModel, layer: Layer) -> None:
    """Drop the FFN block of one layer, in place: a normalisation after the sum stays."""
    block = layer.family.ffn
    for path in (*block.inputs.values(), block.output) if block.module is None else (block.module,):
        replace_module(model, f"{layer.path}.{path}", Nothing())


def keep_layers(model: PreTrainedModel, kept: Sequence[int]) -> None:
    """Keep these layers (indices, in the order given), in place, and what the configuration says of each."""
    family = family_of(model.config)
    require_first_layer(model, kept, "layers")
    for field in family.layer_lists:
        entries = getattr(model.config, field)
        if entries is not None:
            setattr(model.config, field, [entries[i] for i in kept])
    for field, kind in family.layer_periods.items():
        # The list holds for whoever knows it. Others stop at a period that is none, and at no wrong one.
        setattr(model.config, field, _period(model.config.layer_types, kind))
    if family.output_names is not None:
        names = getattr(model.config, family.output_names)
        setattr(model.config, family.output_names, names[: len(kept) + 1])
        # The last, as in a new configuration: a name that is no longer there would not be loaded again.
        model.config.set_output_features_output_indices(None, None)
    parent = model.get_submodule(f"{model.base_model_prefix}.{family.layers}".rpartition(".")[0])
    name = family.layers.rpartition(".")[2]
    setattr(parent, name, nn.ModuleList([layers_of(model)[i].module for i in kept]))
    for index, layer in enumerate(layers_of(model)):
        # Where its keys and values are in a cache; what keeps none does not read it.
        layer.part("attention").layer_idx = index  # type: ignore[assignment]
    setattr(model.config, family.layers_field, len(kept))


def _period(types: Sequence[str], kind: str) -> int | None:
    """The n of which layers 0, n, 2 n ... are of this kind and no others are; None where there is none."""
    periods = range(1, len(types) + 1)
    return next((n for n in periods if all((name == kind) == (i % n == 0) for i, name in enumerate(types))), None)


def change_activation(model: PreTrainedModel, name: str) -> None:
    """Put another activation between the FFN's two products, in place. `name`: as Transformers calls it."""
    family = family_of(model.config)
    setattr(model.config, family.activation_field, name)
    for layer in layers_of(model):
        if family.ffn.module is None or layer.neurons:
            replace_module(model, layer.path_of("activation"), ACT2FN[name])


def tell_config(model: PreTrainedModel) -> None:
    """Where every FFN has the same width, let the configuration say it: then any loader builds it."""
    family = family_of(model.config)
    widths = {layer.neurons for layer in layers_of(model) if layer.neurons}
    if len(widths) == 1:
        setting = family.ffn_setting(model.config, widths.pop())
        if setting is not None:
            setattr(model.config, family.ffn_field, setting)


def tell_heads(model: PreTrainedModel) -> None:
    """Where every layer has as many heads as the others, let the configuration say it, if it can: then any loader
    builds it.

    Where one key and value are left that several heads share, each of those heads counts as one from then on, as in
    any other model of that form: see `Layer.heads`.
    """
    family, layers = family_of(model.config), layers_of(model)
    found = {(layer.query_heads, layer.heads * layer.shared_width // head_size(model)) for layer in layers}
    if not family.tells_heads or len(found) != 1:
        return
    ((queries, shared),) = found
    if not queries:
        return
    setattr(model.config, family.heads_field, queries)
    # With none that leaves, all heads share the one there is, and go on to.
    if family.sharing_field is not None and shared:
        setattr(model.config, family.sharing_field, shared)


def narrow(model: PreTrainedModel, hidden_size: int) -> PreTrainedModel:
    """A copy whose hidden width is `hidden_size`, a multiple of the head size, with as many heads as then fit.

    Kept are the hidden positions with the largest weights over all layers, and in each layer its heads with the
    largest weights. FFN widths stay. Raises InputError where layers were edited, whose edits would be lost, and for a
    family whose width cannot change.
    """
    require_changeable_width(model, "hidden_size")
    edited = structure_of(model)
    if not edited.is_plain:
        path = next(iter([*edited.edits, *edited.attributes]))
        raise InputError(
            f"the hidden width of this model cannot change: {path} was pruned or factorized. Set hidden_size first, in "
            "a stage before those, or to null."
        )
    family, size = family_of(model.config), head_size(model)
    heads, hidden_before = hidden_size // size, int(getattr(model.config, family.hidden_field))
    config = copy.deepcopy(model.config)
    for field in family.mirrors:
        if getattr(config, field) == getattr(config, family.hidden_field):
            setattr(config, field, hidden_size)
    setattr(config, family.hidden_field, hidden_size)
    setattr(config, family.heads_field, heads)
    if isinstance(model, SentenceEncoder):
        model.keep_dimensions(config)
    result = type(model)(config)
    hidden = strongest(_hidden_importance(model), hidden_size)
    kept_heads: dict[str, Tensor] = {}
    for layer in layers_of(model):
        rows = [*layer.weights_of("heads"), *layer.weights_of("shared")]
        columns = _spread(strongest(head_magnitude(rows, layer.weight("attention_output"), layer.heads), heads), size)
        kept = {"heads": columns, "shared": columns}
        kept_heads |= {layer.path_of(part): _rows(layer, part, kept) for part in layer.attention_inputs}
        kept_heads[layer.path_of("attention_output")] = columns
    source = model.state_dict()
    for name, tensor in result.state_dict().items():
        path = name.rpartition(".")[0]
        # What makes vectors as long as before of narrower states: each that is kept stays in its place.
        values = source[name].cpu() if name in source else torch.eye(hidden_before)
        outgoing = path in kept_heads and not path.endswith(family.attention.output)
        for axis in range(values.dim()):
            if values.shape[axis] == tensor.shape[axis]:
                continue
            by_head = path in kept_heads and (axis == 0) == outgoing
            values = values.index_select(axis, kept_heads[path] if by_head else hidden)
        tensor.copy_(values)
    return result.to(model.device).eval()  # type: ignore[arg-type]


def _hidden_importance(model: PreTrainedModel) -> Tensor:
    total: Tensor | None = None
    for layer in layers_of(model):
        for part in layer.parts:
            axis = 1 if part in ("attention_output", "ffn_out") else 0
            squares = layer.weight(part).double().pow(2).sum(dim=axis)
            total = squares if total is None else total + squares
    assert total is not None
    return total


def require_first_layer(model: PreTrainedModel, kept: Sequence[int], setting: str) -> None:
    """Raise InputError where the first layer is not among those kept, in a family where it must be. setting: what asked
    for these."""
    family = family_of(model.config)
    if family.first_layer is not None and len(kept) and kept[0] != 0:
        raise InputError(
            f"{setting} is {list(kept)}; the first layer of a {family.model_type} model must stay the first, because "
            f"{family.first_layer}. Begin with 0: {[0, *kept[1:]]}, or give how many layers stay."
        )


def require_cuttable_heads(model: PreTrainedModel, setting: str) -> None:
    """Raise InputError for a family of which no attention head can leave alone. setting: what asked for it."""
    family = family_of(model.config)
    if family.attention.fixed_heads is not None:
        raise InputError(
            f"{setting}: the heads of a {family.model_type} model cannot be cut here, because "
            f"{family.attention.fixed_heads}. Set heads=1, and cut neurons and layers."
        )


def require_changeable_width(model: PreTrainedModel, setting: str) -> None:
    """Raise InputError for a family whose hidden width cannot change. setting: what asked for it."""
    family = family_of(model.config)
    if family.fixed_width is not None:
        raise InputError(
            f"{setting}: the hidden width of a {family.model_type} model cannot change here, because "
            f"{family.fixed_width}. Set hidden_size=null, and cut layers, heads and neurons."
        )


def _spread(indices: Tensor, width: int) -> Tensor:
    """The numbers of all columns that belong to these heads, each `width` wide."""
    return (indices[:, None] * width + torch.arange(width)).flatten()


def _rows(layer: Layer, part: str, kept: Mapping[str, Tensor]) -> Tensor:
    """The rows that stay of a matrix that reads a block's input. kept: for `heads`, `shared` or `neurons` those that
    stay, counted within its range; all, where it is not named."""
    ranges = layer.ranges(part)
    return torch.cat([start + kept.get(what, torch.arange(end - start)) for what, start, end in ranges])


def _select(linear: nn.Module, rows: Tensor | None = None, columns: Tensor | None = None) -> nn.Linear:
    assert isinstance(linear, nn.Linear)
    weight, bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
    if rows is not None:
        weight = weight[rows.to(weight.device)]
        bias = None if bias is None else bias[rows.to(weight.device)]
    if columns is not None:
        weight = weight[:, columns.to(weight.device)]
    kind = MaskedLinear if isinstance(linear, MaskedLinear) else nn.Linear
    result = kind(weight.shape[1], weight.shape[0], bias is not None)
    with torch.no_grad():
        result.weight.copy_(weight)
        if bias is not None:
            result.bias.copy_(bias)
    return result
