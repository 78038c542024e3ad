"""The one place that calls a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compress.core.signature import SEQUENCE, Signature


@dataclass(frozen=True)
class Answer:
    """output: what the signature calls so. hidden_states: the embeddings' output, then each layer's, where asked for,
    else empty."""

    output: Tensor
    hidden_states: tuple[Tensor, ...]


def forward(model: Any, signature: Signature, batch: Mapping[str, Any], *, hidden_states: bool = False) -> Answer:
    """Call `model` with the inputs of `batch` that its signature names, on its own device."""
    inputs = {name: batch[name].to(model.device) for name in signature.names}
    more = {"output_hidden_states": True} if hidden_states else {}
    outputs = model(**inputs, **more)
    return Answer(getattr(outputs, signature.output.name), outputs.hidden_states if hidden_states else ())


def position_mask(signature: Signature, batch: Mapping[str, Any]) -> Tensor | None:
    """(rows, positions), True where a position of the hidden states is real; None where all are."""
    return None if signature.mask is None else batch[signature.mask].bool()


def output_mask(signature: Signature, batch: Mapping[str, Any]) -> Tensor | None:
    """Which places of the output count, in the shape of all its axes but the last; None where all do."""
    mask = position_mask(signature, batch)
    if mask is None or not signature.per_position:
        return None
    if signature.output.axes[:2] != ("batch", SEQUENCE):
        raise ValueError(f"no mask is known for an output with the axes {signature.output.axes}")
    return mask


def numpy_batch(signature: Signature, batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """The inputs of a batch as a runtime takes them."""
    return {name: batch[name].numpy() for name in signature.names}


def torch_batch(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """What `numpy_batch` gave, as a model takes it."""
    return {name: torch.from_numpy(value) for name, value in batch.items()}
