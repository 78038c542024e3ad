"""Looking at what attention compares: the queries, keys and values of one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.nn.family import layers_of

RELATED = ("query", "key", "value")


@contextmanager
def attention_vectors(model: PreTrainedModel, layer: int | None) -> Iterator[dict[str, Tensor]]:
    """Inside, each forward pass of `model` leaves its queries, keys and values of `layer` (from 1) in the dictionary.

    Each is (rows, positions, heads times head size), with its gradient. Empty where `layer` is None.
    """
    found: dict[str, Tensor] = {}

    def keep(part: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, inputs, output: found.update({part: output})

    parts = () if layer is None else RELATED
    hooks = [layers_of(model)[(layer or 0) - 1].part(part).register_forward_hook(keep(part)) for part in parts]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
