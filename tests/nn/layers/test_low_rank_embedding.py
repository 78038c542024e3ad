"""A narrow table and the product that widens it."""

from __future__ import annotations

import torch
from torch import tensor

from compress.nn.layers import LowRankEmbedding


def test_by_hand() -> None:
    layer = LowRankEmbedding.of(tensor([[1.0, 2.0], [0.0, -1.0]]), tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]]))
    # Token 0: (1, 2, 2 + 6). Token 1: (0, -1, -3).
    assert layer(tensor([[1, 0]])).tolist() == [[[0.0, -1.0, -3.0], [1.0, 2.0, 8.0]]]
    assert (layer.num_embeddings, layer.rank, layer.embedding_dim) == (2, 2, 3)


def test_double_precision_factors_become_float32() -> None:
    layer = LowRankEmbedding.of(torch.ones(9, 2).double(), torch.ones(4, 2).double())
    assert {value.dtype for value in layer.state_dict().values()} == {torch.float32}
    assert set(layer.state_dict()) == {"table.weight", "up.weight"}
