"""A narrow embedding table and one product that widens what is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn


class LowRankEmbedding(nn.Module):
    """embeddings = up(table[token]): `table` (tokens, rank), `up` (width, rank) without a bias.

    Source: Lan et al. 2020, ALBERT, section 3.1, factorized embedding parameterization.
    """

    kind: ClassVar[str] = "low_rank_embedding"
    plain_keys: ClassVar[bool] = False

    def __init__(self, tokens: int, rank: int, width: int) -> None:
        super().__init__()
        self.rank, self.embedding_dim = rank, width
        self.table = nn.Embedding(tokens, rank)
        self.up = nn.Linear(rank, width, bias=False)

    @classmethod
    def of(cls, table: Tensor, up: Tensor) -> LowRankEmbedding:
        """table: (tokens, rank). up: (width, rank)."""
        layer = cls(table.shape[0], table.shape[1], up.shape[0])
        with torch.no_grad():
            layer.table.weight.copy_(table)
            layer.up.weight.copy_(up)
        return layer

    @staticmethod
    def sizes_of(module: LowRankEmbedding) -> dict[str, int]:
        """What `build` needs."""
        return {"tokens": module.num_embeddings, "rank": module.rank, "width": module.embedding_dim}

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """An empty layer of these sizes, to be filled by a strict load."""
        return cls(sizes["tokens"], sizes["rank"], sizes["width"])

    @property
    def num_embeddings(self) -> int:
        """How many tokens there are: the table may be trimmed."""
        return self.table.num_embeddings

    def forward(self, indices: Tensor) -> Tensor:
        """indices: (...). Returns (..., width)."""
        return self.up(self.table(indices))
