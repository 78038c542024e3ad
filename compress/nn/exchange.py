"""Parts of one model put in the place of another's, and taken out again: which layer did it?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import nn
from transformers import PreTrainedModel

from compress.nn.family import Layer, family_of, hidden_size, layers_of
from compress.nn.layers.fused_layer import FusedLayer


@dataclass(frozen=True)
class Part:
    """modules: what stands at which path. attributes: path -> name -> value (head counts)."""

    name: str
    modules: Mapping[str, nn.Module]
    attributes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@contextmanager
def exchanged(model: nn.Module, parts: Sequence[Part]) -> Iterator[None]:
    """`model` with these parts in the place of its own, which come back at the end."""
    before: list[tuple[nn.Module, str, object]] = []

    def put(path: str, name: str, value: object) -> None:
        holder = model.get_submodule(path)
        before.append((holder, name, getattr(holder, name)))
        setattr(holder, name, value)

    try:
        for part in parts:
            for path, module in part.modules.items():
                parent, _, name = path.rpartition(".")
                put(parent, name, module)
            for path, values in part.attributes.items():
                for attribute, number in values.items():
                    put(path, attribute, number)
        yield
    finally:
        for holder, name, value in reversed(before):
            setattr(holder, name, value)


def parts_from(source: PreTrainedModel, model: PreTrainedModel) -> tuple[list[Part], str]:
    """What of `source` fits into `model` and differs from what is there.

    Single layers (dense products, embedding tables) where nothing else differs, else blocks: attention, FFN,
    embeddings, head; whole layers where one of the two models is fused, or lacks a block there. The second result says
    in words why there are no parts where there are none.
    """
    ours, theirs = layers_of(model), layers_of(source)
    if len(ours) != len(theirs):
        return [], f"it has {len(ours)} layers and the model before it {len(theirs)}, so none stands for another"
    if hidden_size(model) != hidden_size(source):
        return [], f"its hidden width is {hidden_size(model)}, before it was {hidden_size(source)}"
    found = _changed_layers(source, model, "")
    parts = _blocks(source, model) if found is None else [Part(path, {path: module}) for path, module in found]
    return parts, "" if parts else "no part of it that differs from the model before fits in its place"


def joined(parts: Sequence[Part], together: Sequence[Collection[str]]) -> list[Part]:
    """The parts, but those that hold modules at paths which belong together as one, at the place of the first.

    together: groups of paths. What was divided in one module of a group is multiplied again in another: one of them
    taken from a model where neither was done would compute something that neither model does.
    """
    result = list(parts)
    for paths in together:
        tied = [part for part in result if not part.modules.keys().isdisjoint(paths)]
        if len(tied) < 2:
            continue
        whole = Part(
            " with ".join(part.name for part in tied),
            {path: module for part in tied for path, module in part.modules.items()},
            {path: values for part in tied for path, values in part.attributes.items()},
        )
        result = [whole if part is tied[0] else part for part in result if part is tied[0] or part not in tied]
    return result


def _changed_layers(source: nn.Module, module: nn.Module, path: str) -> list[tuple[str, nn.Module]] | None:
    """The smallest modules of `source` that stand for what differs, or None where one of them does not fit."""
    if _same(source, module):
        return []
    ours, theirs = dict(module.named_children()), dict(source.named_children())
    if theirs and type(source) is type(module) and ours.keys() == theirs.keys() and _same_own(source, module):
        inside = [_changed_layers(theirs[name], ours[name], f"{path}.{name}" if path else name) for name in theirs]
        return None if None in inside else [pair for pairs in inside for pair in pairs or ()]
    shape = _shape(source)
    return [(path, source)] if shape is not None and shape == _shape(module) else None


@runtime_checkable
class Dense(Protocol):
    """A module that multiplies, of whatever kind its weights are."""

    in_features: int
    out_features: int


@runtime_checkable
class Table(Protocol):
    """A module that looks up, of whatever kind its rows are."""

    num_embeddings: int
    embedding_dim: int


def _shape(module: nn.Module) -> tuple[int, int] | None:
    """What a neighbour sees of a module: two of the same shape can stand for each other."""
    if isinstance(module, Dense):
        return module.in_features, module.out_features
    return (module.num_embeddings, module.embedding_dim) if isinstance(module, Table) else None


def _same(one: nn.Module, other: nn.Module) -> bool:
    return type(one) is type(other) and _same_tensors(one.state_dict(), other.state_dict())


def _same_own(one: nn.Module, other: nn.Module) -> bool:
    own = [{name: tensor for name, tensor in module.state_dict().items() if "." not in name} for module in (one, other)]
    return _same_tensors(*own)


def _same_tensors(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _blocks(source: PreTrainedModel, model: PreTrainedModel) -> list[Part]:
    family = family_of(model.config)
    base = model.base_model_prefix
    path = f"{base}.{family.embeddings.module}"
    embeddings = source.get_submodule(path)
    parts = []
    if family.words is None or source.config.vocab_size == model.config.vocab_size:
        parts.append(Part("embeddings", {path: embeddings}))
    for number, (theirs, ours) in enumerate(zip(layers_of(source), layers_of(model), strict=True)):
        if FusedLayer in (type(theirs.module), type(ours.module)) or not (_whole(theirs) and _whole(ours)):
            parts.append(Part(f"layer {number}", {theirs.path: theirs.module}))
        else:
            parts += [_attention(theirs, f"attention of layer {number}"), _ffn(theirs, f"FFN of layer {number}")]
    parts.append(Part("head", _head(source)))
    return [part for part in parts if _differs(part, model)]


def _attention(layer: Layer, name: str) -> Part:
    block = layer.family.attention
    counts = {attribute: int(getattr(layer.part("attention"), attribute)) for attribute in block.attributes}
    modules = {layer.path_of(part): layer.part(part) for part in (*layer.attention_inputs, "attention_output")}
    return Part(name, modules | _others(layer, block.norm, *block.further), {layer.path_of("attention"): counts})


def _ffn(layer: Layer, name: str) -> Part:
    block = layer.family.ffn
    modules = {layer.path_of(part): layer.part(part) for part in (*layer.ffn_inputs, "ffn_out")}
    return Part(name, modules | _others(layer, block.norm, *block.further, block.activation))


def _others(layer: Layer, *paths: str) -> dict[str, nn.Module]:
    return {f"{layer.path}.{path}": layer.module.get_submodule(path) for path in paths}


def _whole(layer: Layer) -> bool:
    """Whether it has both of its blocks."""
    return bool(layer.heads and layer.neurons)


def _head(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Everything but embeddings and layers: the classifier, and a pooler where there is one."""
    family, base = family_of(model.config), model.base_model_prefix
    inside = {name.partition(".")[0] for name in (family.embeddings.module, family.layers)}
    return {
        **{f"{base}.{name}": m for name, m in model.get_submodule(base).named_children() if name not in inside},
        **{name: module for name, module in model.named_children() if name != base},
    }


def _differs(part: Part, model: PreTrainedModel) -> bool:
    if not all(_same(module, model.get_submodule(path)) for path, module in part.modules.items()):
        return True
    return any(
        getattr(model.get_submodule(path), name) != value
        for path, values in part.attributes.items()
        for name, value in values.items()
    )
