"""What stands in the places of a block's products once the block was dropped. It adds nothing to the hidden states.

The residual sum and the normalisation after it stay where they are: dropping one block of a MiniLM-L6 at a time moved
its answers more without the normalisation, and also with the bias of the block's output projection, or the mean of what
the block had added, left in its place (benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn


class Nothing(nn.Module):
    """In place of a product: zeros, as wide as what it is given. It has no weights and no sizes."""

    kind: ClassVar[str] = "nothing"
    plain_keys: ClassVar[bool] = False

    @staticmethod
    def sizes_of(module: Nothing) -> dict[str, int]:
        """What `build` needs: nothing."""
        return {}

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> Self:
        """Raises KeyError for any size."""
        if sizes:
            raise KeyError(next(iter(sizes)))
        return cls()

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., hidden). Returns zeros of the same shape."""
        return torch.zeros_like(inputs)


class NoAttention(Nothing):
    """In place of the module that compares positions, and called as that is."""

    kind: ClassVar[str] = "no_attention"

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:  # type: ignore[override]
        """hidden_states: (batch, length, hidden). Returns zeros of the same shape, and no attention weights."""
        return torch.zeros_like(hidden_states), None
