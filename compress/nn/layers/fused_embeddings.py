"""Word embeddings plus one table for everything that depends on the position alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from compress.nn.layers.low_rank_embedding import LowRankEmbedding


@dataclass(frozen=True)
class FusedEmbeddingsSizes:
    """epsilon_exponent: normalisation adds 10 to the power of minus this."""

    words: int
    positions: int
    hidden: int
    epsilon_exponent: int


class FusedEmbeddings(nn.Module):
    """Positions count from 0, and every token is of the first type, whose embedding is added to each position's."""

    kind: ClassVar[str] = "fused_embeddings"
    plain_keys: ClassVar[bool] = False

    def __init__(self, sizes: FusedEmbeddingsSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.word_embeddings: nn.Embedding | LowRankEmbedding = nn.Embedding(sizes.words, sizes.hidden)
        self.positions = nn.Embedding(sizes.positions, sizes.hidden)
        self.norm = nn.LayerNorm(sizes.hidden, eps=10.0**-sizes.epsilon_exponent)

    @staticmethod
    def sizes_of(module: FusedEmbeddings) -> dict[str, int]:
        """What `build` needs."""
        return asdict(module.sizes)

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """Empty tables of these sizes, to be filled by a strict load."""
        return cls(FusedEmbeddingsSizes(**sizes))

    def forward(self, input_ids: Tensor, *_: Any, **__: Any) -> Tensor:
        """input_ids: (batch, length). Returns (batch, length, hidden)."""
        return self.norm(self.word_embeddings(input_ids) + self.positions.weight[: input_ids.shape[1]])
