"""A model's Structure read off the model itself, and a fresh model edited to match a Structure."""

from __future__ import annotations

import re

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto

from compress.core.errors import InputError
from compress.core.structure import Edit, Structure
from compress.nn.family import family_of, layers_of
from compress.nn.layers import KINDS, Int8BlockEmbedding, TiedBlockHead
from compress.nn.layers.linear import PlainLinear


def kind_of(module: nn.Module) -> str | None:
    """The kind of layer a module is, or None for everything that is not edited."""
    if type(module) is nn.Linear:
        return PlainLinear.kind
    kind = getattr(type(module), "kind", None)
    return kind if kind in KINDS else None


def plain_form(model: PreTrainedModel, config: PretrainedConfig | None = None) -> PreTrainedModel:
    """What the configuration of `model` alone, or another, would build with the same head: shapes and names, no memory
    for weights. Raises InputError where models of the other configuration's type have no such head."""
    with torch.device("meta"):
        return type(model)(model.config) if config is None else class_for(model, config)(config)


def class_for(model: PreTrainedModel, config: PretrainedConfig) -> type[PreTrainedModel]:
    """The class that does for `config` what the class of `model` does for its own: of the same head. Raises InputError
    where there is none."""
    own = type(model.config)
    if type(config) is own:
        return type(model)
    # Which classes stand for the same head is said by the library's tables, one for each head.
    tables = [table for name, table in vars(modeling_auto).items() if re.fullmatch(r"MODEL_(FOR_\w+_)?MAPPING", name)]
    for table in tables:
        if own in table and type(config) in table and table[own] is type(model):
            return table[type(config)]
    raise InputError(
        f"student.path holds a model of type {config.model_type!r}, of which there is none with the head of a "
        f"{type(model).__name__}. Use a student of another type."
    )


def structure_of(model: PreTrainedModel) -> Structure:
    """What distinguishes `model` from the one that its configuration alone would build."""
    plain = plain_form(model)
    plain_modules = dict(plain.named_modules())
    edits = {}
    for path, module in model.named_modules():
        kind = kind_of(module)
        if kind is None:
            continue
        sizes = KINDS[kind].sizes_of(module)
        reference = plain_modules.get(path)
        if reference is None or kind_of(reference) != kind or KINDS[kind].sizes_of(reference) != sizes:
            edits[path] = Edit(kind, sizes)
    # What lies inside a replaced layer follows from it, unless it was replaced in turn.
    implied = {
        f"{path}.{child}": kind_of(module)
        for path, edit in edits.items()
        for child, module in KINDS[edit.kind].build(edit.sizes).named_modules()
        if child
    }
    edits = {path: edit for path, edit in edits.items() if implied.get(path) != edit.kind}
    return Structure(edits, _changed_attributes(model, plain))


def _changed_attributes(model: PreTrainedModel, plain: PreTrainedModel) -> dict[str, dict[str, int]]:
    names = family_of(model.config).attention.attributes
    changed = {}
    for layer, reference in zip(layers_of(model), layers_of(plain), strict=True):
        if kind_of(layer.module) is not None or not layer.heads:
            continue
        values = {name: int(getattr(layer.part("attention"), name)) for name in names}
        if any(getattr(reference.part("attention"), name) != value for name, value in values.items()):
            changed[layer.path_of("attention")] = values
    return changed


def apply_structure(model: PreTrainedModel, structure: Structure) -> None:
    """Replace modules and set attributes, in place. The new modules are empty: a strict load fills them.

    Raises InputError for a path, kind or attribute that does not exist: the structure may come from anywhere.
    """
    family = family_of(model.config)
    allowed = set(family.attention.attributes)
    # Parents first: a low-rank layer is there before its factors are replaced.
    for path, edit in sorted(structure.edits.items(), key=lambda item: item[0].count(".")):
        if edit.kind not in KINDS:
            raise InputError(
                f"structure.json names the kind {edit.kind!r} at {path}; known are {', '.join(sorted(KINDS))}. "
                "Load it with the release that wrote it."
            )
        try:
            model.get_submodule(path)
            replace_module(model, path, KINDS[edit.kind].build(edit.sizes))
        except InputError:
            raise
        # Numbers from a file can fail anywhere in a layer's making.
        except Exception as error:
            raise InputError(f"structure.json does not fit the model at {path}: {error}. Export it again.") from error
    tie_heads(model)
    for path, values in structure.attributes.items():
        for name, value in values.items():
            if name not in allowed:
                raise InputError(f"structure.json sets {name!r} at {path}; a {family.model_type} may set {allowed}.")
            try:
                setattr(model.get_submodule(path), name, value)
            except AttributeError as error:
                raise InputError(f"structure.json names {path}, which the model does not have.") from error


def tie_heads(model: PreTrainedModel) -> None:
    """Let every head that reads the embedding table read that of `model`, in place. Raises InputError where that is no
    table in int8 blocks, or of another shape."""
    for path, module in model.named_modules():
        if not isinstance(module, TiedBlockHead):
            continue
        table = model.get_input_embeddings()
        if not isinstance(table, Int8BlockEmbedding):
            raise InputError(
                f"structure.json ties {path} to a table in int8 blocks, and there is none. Export it again."
            )
        try:
            module.read(table)
        except ValueError as error:
            raise InputError(f"structure.json does not fit the model at {path}: {error}. Export it again.") from error


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` at `path`, in the mode and on the device of what was there."""
    parent_path, _, name = path.rpartition(".")
    parent = model.get_submodule(parent_path)
    old = getattr(parent, name)
    device = next((tensor.device for tensor in (*old.parameters(), *old.buffers())), torch.device("cpu"))
    module.train(old.training)
    setattr(parent, name, module.to(device))
