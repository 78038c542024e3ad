"""Parts of a model in the precision that a recipe ends with, for their latency: no weight has learned anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from compress.nn.family import family_of
from compress.nn.layers import (
    Int4BlockLinear,
    Int8BlockEmbedding,
    Int8BlockLinear,
    Int8DynamicLinear,
    Int8Embedding,
    Int8StaticLinear,
)
from compress.nn.structure import replace_module

Key = TypeVar("Key")
BLOCKS = ("blocks", "blocks4")


def rounded(parts: Iterable[tuple[Key, nn.Module]], precision: str) -> Iterator[tuple[Key, nn.Module]]:
    """Each as quantization would leave it."""
    for key, module in parts:
        _round(module, precision)
        yield key, module.eval()


def _round(module: nn.Module, precision: str) -> None:
    if precision == "float":
        return
    words, layers = None, ""
    if isinstance(module, PreTrainedModel):
        family = family_of(module.config)
        words = f"{module.base_model_prefix}.{family.words}"
        layers = f"{module.base_model_prefix}.{family.layers}."
    for path, part in list(module.named_modules()):
        if isinstance(part, nn.Embedding) and path == words:
            replace_module(module, path, (Int8BlockEmbedding if precision in BLOCKS else Int8Embedding).of(part))
        elif isinstance(part, nn.Linear) and precision in BLOCKS:
            # Outside the layers 8 bits, as the stage has it unless told otherwise.
            four = precision == "blocks4" and path.startswith(layers)
            replace_module(module, path, (Int4BlockLinear if four else Int8BlockLinear).of(part))
        elif isinstance(part, nn.Linear) and precision == "dynamic":
            replace_module(module, path, Int8DynamicLinear.of(part))
        elif isinstance(part, nn.Linear):
            replace_module(module, path, Int8StaticLinear.of(part).fix_inputs(torch.tensor(0.05), torch.tensor(128.0)))
