"""Looking at what attention compares: the queries, keys and values of one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.nn.family import Layer, layers_of

RELATED = ("query", "key", "value")


@contextmanager
def attention_vectors(model: PreTrainedModel, layer: int | None) -> Iterator[dict[str, Tensor]]:
    """Inside, each forward pass of `model` leaves its queries, keys and values of `layer` (from 1) in the dictionary.

    Each is (rows, positions, heads times head size), with its gradient, as the products give it: before it is turned by
    its position or normalised, where a model does that. Empty where `layer` is None.
    """
    found: dict[str, Tensor] = {}

    def keep(outputs: Mapping[str, Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            for part, numbers in outputs.items():
                # The first call of a pass: some models then put relative positions through the same matrices.
                found.setdefault(part, output if len(outputs) == 1 else output[..., numbers])

        return hook

    looked_at = [] if layer is None else [layers_of(model)[layer - 1]]
    places = {module: outputs for one in looked_at for module, outputs in _places(one).items()}
    hooks = [one.module.register_forward_pre_hook(lambda *_: found.clear()) for one in looked_at]
    hooks += [module.register_forward_hook(keep(outputs)) for module, outputs in places.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def widths(layer: Layer) -> dict[str, int]:
    """How wide the queries, keys and values of this layer are."""
    return {part: len(numbers) for outputs in _places(layer).values() for part, numbers in outputs.items()}


def _places(layer: Layer) -> dict[nn.Module, dict[str, Tensor]]:
    """The modules that give queries, keys and values, and which of its outputs each of these is."""
    found: dict[nn.Module, dict[str, Tensor]] = {}
    for name in layer.attention_inputs:
        parts = (name,) if name in RELATED else RELATED
        found[layer.part(name)] = dict(zip(parts, layer.rows(name), strict=True))
    return found
