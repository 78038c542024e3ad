"""A model whose layers are all plain ones: integers are scaled back, factors multiplied."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.nn.layers import (
    Int4Embedding,
    Int8BlockEmbedding,
    Int8BlockLinear,
    Int8DynamicLinear,
    Int8Embedding,
    MaskedLinear,
    TiedBlockHead,
)
from compress.nn.structure import plain_form, replace_module, structure_of

Table = Int4Embedding | Int8BlockEmbedding | Int8Embedding
WAY_OUT = (
    "Give the folder to compress.load or the runtime that it was exported for, or make one of uniform shape: leave "
    "fuse and factorize out of order, and cut all layers alike (stages.prune.uniform=true)."
)


def make_plain(model: PreTrainedModel) -> int:
    """`scale_back`, and raise InputError where config.json alone does not say what is left, which no other loader could
    then build."""
    changed = scale_back(model)
    _require_uniform(model)
    return changed


def scale_back(model: PreTrainedModel) -> int:
    """Put a dense layer, or a table, in FP32 in the place of each that holds integers or a mask, in place. Returns how
    many those were."""
    reference = plain_form(model)
    changed = 0
    for path, module in list(model.named_modules()):
        plain = _plain(module, reference, path)
        if plain is not None:
            replace_module(model, path, plain)
            changed += 1
    # A head that reads the embeddings reads them again.
    model.tie_weights()
    return changed


def _plain(module: nn.Module, reference: nn.Module, path: str) -> nn.Module | None:
    """What stands for a module; None where it stays."""
    if isinstance(module, Table):
        return _table(module, _at(reference, path), path)
    if isinstance(module, Int8DynamicLinear):
        return _dense(module.weight_int8.T.float() * module.weight_scale[:, None], module.bias, reference, path)
    if isinstance(module, Int8BlockLinear | TiedBlockHead):
        weight = module.table.weight if isinstance(module, TiedBlockHead) else module.weight
        return _dense(weight, getattr(module, "bias", None), reference, path)
    if isinstance(module, MaskedLinear):
        return _dense(module.weight, module.bias, reference, path)
    return None


def _dense(weight: torch.Tensor, bias: torch.Tensor | None, reference: nn.Module, path: str) -> nn.Linear:
    """weight: (out, in). A bias that the configuration's own layer does not have is left out where it is all zeros, as
    an INT8 layer keeps one."""
    own = _at(reference, path)
    has_bias = bias is not None and (getattr(own, "bias", None) is not None or bool(bias.any()))
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if has_bias:
            assert bias is not None
            layer.bias.copy_(bias)
    return layer.eval()


@torch.no_grad()
def _table(module: Table, own: nn.Module | None, path: str) -> nn.Embedding:
    """own: the table that the configuration builds."""
    if own is not None and type(own) is not nn.Embedding:
        raise InputError(
            f"{path} stands for a {type(own).__name__}, which multiplies what it looks up, and whose integers are not "
            f"scaled back here. {WAY_OUT}"
        )
    return nn.Embedding.from_pretrained(module(torch.arange(module.num_embeddings)), freeze=False)


def _at(reference: nn.Module, path: str) -> nn.Module | None:
    try:
        return reference.get_submodule(path)
    except AttributeError:
        return None


def _require_uniform(model: PreTrainedModel) -> None:
    structure = structure_of(model)
    for path, edit in structure.edits.items():
        sizes = ", ".join(f"{name}={size}" for name, size in edit.sizes.items())
        raise InputError(
            f"{path} is a {edit.kind} ({sizes}), which config.json alone cannot say, so no plain loader builds it. "
            f"{WAY_OUT}"
        )
    for path, values in structure.attributes.items():
        heads = ", ".join(f"{name}={value}" for name, value in values.items())
        raise InputError(f"{path} has {heads}, which config.json alone cannot say. {WAY_OUT}")
