"""Rows scaled back when they are looked up."""

from __future__ import annotations

import torch
from torch import nn, tensor

from compress.nn.layers import Int8Embedding


def test_by_hand() -> None:
    table = nn.Embedding(3, 2)
    with torch.no_grad():
        table.weight.copy_(tensor([[127.0, -2.0], [0.0, 0.0], [0.5, -1.27]]))
    layer = Int8Embedding.of(table)
    assert layer.weight_int8.tolist() == [[127, -2], [0, 0], [50, -127]]
    torch.testing.assert_close(
        layer(tensor([[2, 0], [1, 2]])), tensor([[[0.5, -1.27], [127, -2]], [[0, 0], [0.5, -1.27]]])
    )


def test_a_byte_for_each_value() -> None:
    layer = Int8Embedding.of(nn.Embedding(100, 32))
    assert sum(value.numel() * value.element_size() for value in layer.state_dict().values()) == 100 * 32 + 100 * 4
    assert (layer.num_embeddings, layer.embedding_dim) == (100, 32)


def test_the_whole_table() -> None:
    table = nn.Embedding(2, 2)
    with torch.no_grad():
        table.weight.copy_(tensor([[127.0, -2.4], [0.5, -1.27]]))
    torch.testing.assert_close(Int8Embedding.of(table).weight, tensor([[127.0, -2.0], [0.5, -1.27]]))
