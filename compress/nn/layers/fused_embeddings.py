"""Word embeddings plus one table for everything that depends on the position alone, and of pairs one for the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from compress.nn.layers.low_rank_embedding import LowRankEmbedding


@dataclass(frozen=True)
class FusedEmbeddingsSizes:
    """epsilon_exponent: normalisation adds 10 to the power of minus this. types: 1 where all tokens are of one type."""

    words: int
    positions: int
    hidden: int
    epsilon_exponent: int
    # Structures written before pairs were read do not have it.
    types: int = 1


class FusedEmbeddings(nn.Module):
    """Positions count from 0. Where every token is of the first type, its embedding is part of each position's."""

    kind: ClassVar[str] = "fused_embeddings"
    plain_keys: ClassVar[bool] = False

    def __init__(self, sizes: FusedEmbeddingsSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.word_embeddings: nn.Embedding | LowRankEmbedding = nn.Embedding(sizes.words, sizes.hidden)
        self.positions = nn.Embedding(sizes.positions, sizes.hidden)
        if sizes.types > 1:
            self.types = nn.Embedding(sizes.types, sizes.hidden)
        self.norm = nn.LayerNorm(sizes.hidden, eps=10.0**-sizes.epsilon_exponent)

    @staticmethod
    def sizes_of(module: FusedEmbeddings) -> dict[str, int]:
        """What `build` needs. `types` is named where there are several, so that other structures stay as they were."""
        return {name: size for name, size in asdict(module.sizes).items() if name != "types" or size > 1}

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """Empty tables of these sizes, to be filled by a strict load."""
        return cls(FusedEmbeddingsSizes(**sizes))

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
        """input_ids: (batch, length). token_type_ids: the same, all 0 where None. Returns (batch, length, hidden)."""
        embeddings = self.word_embeddings(input_ids) + self.positions.weight[: input_ids.shape[1]]
        if self.sizes.types > 1:
            embeddings = embeddings + (self.types.weight[0] if token_type_ids is None else self.types(token_type_ids))
        return self.norm(embeddings)
