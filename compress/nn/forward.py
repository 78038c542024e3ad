"""The one place that calls a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compress.core.signature import SEQUENCE, Signature


@dataclass(frozen=True)
class Answer:
    """output: what the signature calls so. hidden_states: the embeddings' output, then each layer's, where asked for,
    else empty. more: what the signature calls so."""

    output: Tensor
    hidden_states: tuple[Tensor, ...]
    more: tuple[Tensor, ...]


def forward(model: Any, signature: Signature, batch: Mapping[str, Any], *, hidden_states: bool = False) -> Answer:
    """Call `model` with the inputs of `batch` that its signature names, on its own device."""
    device = model.device
    # Only what lies elsewhere is moved: in a traced model a move that is none would be an operator.
    inputs = {name: value if value.device == device else value.to(device) for name, value in _inputs(signature, batch)}
    more = {"output_hidden_states": True} if hidden_states else {}
    outputs = model(**inputs, **more)
    return Answer(
        output=getattr(outputs, signature.output.name),
        hidden_states=outputs.hidden_states if hidden_states else (),
        more=tuple(getattr(outputs, port.name) for port in signature.more),
    )


def continued(model: Any, tokens: Tensor, mask: Tensor, kept: Any) -> tuple[Tensor, Any]:
    """The logits after the last of `tokens`, (rows, vocabulary), and what the next call goes on from.

    tokens: (rows, n), after those that `kept` holds; None where there are none. mask: (rows, all positions so far), 0
    where one is padding.
    """
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    outputs = model(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=places,
        past_key_values=kept,
        use_cache=True,
        logits_to_keep=1,
    )
    return outputs.logits[:, -1], outputs.past_key_values


def _inputs(signature: Signature, batch: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    return ((name, batch[name]) for name in signature.names)


@torch.no_grad()
def positions_of(model: Any, signature: Signature, batch: Mapping[str, Any]) -> int:
    """How many positions the hidden states have for this batch. The model is asked where its inputs do not say."""
    known = signature.positions(batch)
    return forward(model, signature, batch, hidden_states=True).hidden_states[0].shape[1] if known is None else known


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
    """The inputs of a batch as a runtime takes them, and what is asked of its output where not all of that is kept."""
    asked = () if signature.asked is None else (signature.asked,)
    return {name: batch[name].numpy() for name in (*signature.names, *asked)}


def torch_batch(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """What `numpy_batch` gave, as a model takes it."""
    return {name: torch.from_numpy(value) for name, value in batch.items()}
