"""An encoder layer as few products: query, key and value in one, the last layer for the first token only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from compress.nn.layers import attention as _operator  # noqa: F401  (the operator exists once it is imported)

# What a `structure.json` numbers. Append only: the numbers are in saved models.
ACTIVATIONS = ("gelu", "relu", "gelu_new", "gelu_pytorch_tanh", "silu", "tanh")


@dataclass(frozen=True)
class FusedLayerSizes:
    """heads, neurons: 0 where the block was dropped; its normalisation stays. activation: a number in ACTIVATIONS.
    epsilon_exponent: normalisation adds 10 to the power of minus this.

    first_token: 1 where only the first token's output is computed. separate: 1 where query, key and value stay products
    of their own, because one of them was factorized. pre_norm: 1 where a block's input is normalised, 0 where the sum
    after it is.
    """

    hidden: int
    heads: int
    head_size: int
    neurons: int
    activation: int
    epsilon_exponent: int
    first_token: int
    separate: int
    # Structures written before there was pre-norm do not have it.
    pre_norm: int = 0


class FusedLayer(nn.Module):
    """The same function as a layer of BERT (post-norm) or ViT (pre-norm) in evaluation mode, written for a runtime.

    Query, key and value read the same input, so one product computes them, and one rounding to int8 serves all three.
    With `first_token`, keys and values are computed for all tokens, everything else for the first alone: it is all that
    a classification head reads of the last layer. Dropout is left out: this layer is not trained.
    """

    kind: ClassVar[str] = "fused_layer"
    plain_keys: ClassVar[bool] = False

    def __init__(self, sizes: FusedLayerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        epsilon = 10.0**-sizes.epsilon_exponent
        if sizes.heads:
            self._add_attention(sizes)
        # Nothing reads the normalised input of a block that was dropped; a sum is normalised all the same.
        if sizes.heads or not sizes.pre_norm:
            self.attention_norm = nn.LayerNorm(sizes.hidden, eps=epsilon)
        if sizes.neurons:
            self.ffn_in, self.ffn_out = nn.Linear(sizes.hidden, sizes.neurons), nn.Linear(sizes.neurons, sizes.hidden)
        if sizes.neurons or not sizes.pre_norm:
            self.ffn_norm = nn.LayerNorm(sizes.hidden, eps=epsilon)
        self.activation = ACT2FN[ACTIVATIONS[sizes.activation]]

    def _add_attention(self, sizes: FusedLayerSizes) -> None:
        hidden, inner = sizes.hidden, sizes.heads * sizes.head_size
        if sizes.separate:
            self.query, self.key, self.value = (nn.Linear(hidden, inner) for _ in range(3))
        elif sizes.first_token:
            self.query, self.key_value = nn.Linear(hidden, inner), nn.Linear(hidden, 2 * inner)
        else:
            self.query_key_value = nn.Linear(hidden, 3 * inner)
        self.attention_output = nn.Linear(inner, hidden)

    @staticmethod
    def sizes_of(module: FusedLayer) -> dict[str, int]:
        """What `build` needs. `pre_norm` is named where it is 1, so that post-norm structures stay as they were."""
        return {name: size for name, size in asdict(module.sizes).items() if name != "pre_norm" or size}

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """An empty layer of these sizes, to be filled by a strict load."""
        if sizes["activation"] >= len(ACTIVATIONS):
            raise KeyError(f"activation {sizes['activation']}")
        return cls(FusedLayerSizes(**sizes))

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
        """hidden_states: (batch, length, hidden). attention_mask: None, or (batch, 1, 1 or length, length), additive
        or boolean (True where attended); all rows of a mask are the same. Returns (batch, length or 1, hidden)."""
        return self.feed_forward(self.attend(hidden_states, attention_mask))

    def attend(self, hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
        """The attention block, with its normalisation and residual sum."""
        residual = hidden_states[:, :1] if self.sizes.first_token else hidden_states
        if not self.sizes.heads:
            return residual if self.sizes.pre_norm else self.attention_norm(residual)
        mask = None if attention_mask is None else _additive(attention_mask[:, :, :1], hidden_states)
        if self.sizes.pre_norm:
            states = self.attention_norm(hidden_states)
            projections = self._projections(states, states[:, :1] if self.sizes.first_token else states)
        else:
            projections = self._projections(hidden_states, residual)
        added = self.attention_output(self._attention(projections, mask)) + residual
        return added if self.sizes.pre_norm else self.attention_norm(added)

    def _attention(self, projections: list[Tensor], mask: Tensor | None) -> Tensor:
        """What `compress.nn.layers.attention` computes, (batch, queries, heads * size), as one operator."""
        found: Tensor = torch.ops.compress.attention(projections, mask, self.sizes.heads)
        return found

    def feed_forward(self, states: Tensor) -> Tensor:
        """The FFN block, with its normalisation and residual sum."""
        if not self.sizes.neurons:
            return states if self.sizes.pre_norm else self.ffn_norm(states)
        read = self.ffn_norm(states) if self.sizes.pre_norm else states
        added = self.ffn_out(self.activation(self.ffn_in(read))) + states
        return added if self.sizes.pre_norm else self.ffn_norm(added)

    def _projections(self, states: Tensor, first: Tensor) -> list[Tensor]:
        """Query, key and value, side by side where one product computes them. The query's hold the 1/sqrt(size)."""
        if self.sizes.separate:
            return [self.query(first), self.key(states), self.value(states)]
        if self.sizes.first_token:
            return [self.query(first), self.key_value(states)]
        return [self.query_key_value(states)]


def _additive(mask: Tensor, values: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=values.dtype).masked_fill(~mask, torch.finfo(values.dtype).min)
