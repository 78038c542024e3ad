"""Words plus positions, normed."""

from __future__ import annotations

import torch
from torch import tensor

from compress.nn.layers import FusedEmbeddings
from compress.nn.layers.fused_embeddings import FusedEmbeddingsSizes


def test_by_hand() -> None:
    layer = FusedEmbeddings(FusedEmbeddingsSizes(words=3, positions=2, hidden=2, epsilon_exponent=12))
    with torch.no_grad():
        layer.word_embeddings.weight.copy_(tensor([[1.0, 2.0], [5.0, 0.0], [0.0, 0.0]]))
        layer.positions.weight.copy_(tensor([[0.0, 1.0], [0.0, 9.0]]))
        layer.norm.weight.copy_(tensor([2.0, 1.0]))
        layer.norm.bias.copy_(tensor([0.0, 10.0]))
    # [1, 2] + [0, 1] norms to [-1, 1], [5, 0] + [0, 9] too; word 1 in the first place is [5, 1]: [1, -1].
    expected = tensor([[[-2.0, 11.0], [-2.0, 11.0]], [[2.0, 9.0], [-2.0, 11.0]]])
    torch.testing.assert_close(layer(tensor([[0, 1], [1, 2]])), expected)


def test_each_token_has_a_type_by_hand() -> None:
    layer = FusedEmbeddings(FusedEmbeddingsSizes(words=2, positions=2, hidden=2, epsilon_exponent=12, types=2))
    with torch.no_grad():
        layer.word_embeddings.weight.copy_(tensor([[1.0, 2.0], [5.0, 0.0]]))
        layer.positions.weight.zero_()
        layer.types.weight.copy_(tensor([[0.0, 0.0], [3.0, 0.0]]))
    # [1, 2] norms to [-1, 1], and of the second type, [4, 2], to [1, -1]; without types all are of the first.
    expected = tensor([[[-1.0, 1.0], [1.0, -1.0]]])
    torch.testing.assert_close(layer(tensor([[0, 0]]), token_type_ids=tensor([[0, 1]])), expected)
    torch.testing.assert_close(layer(tensor([[0, 0]])), tensor([[[-1.0, 1.0], [-1.0, 1.0]]]))
    assert FusedEmbeddings.build(FusedEmbeddings.sizes_of(layer)).types.weight.shape == (2, 2)  # type: ignore[union-attr]


def test_a_structure_without_types_is_as_it_was() -> None:
    layer = FusedEmbeddings(FusedEmbeddingsSizes(words=5, positions=4, hidden=8, epsilon_exponent=5))
    assert FusedEmbeddings.sizes_of(layer) == {"words": 5, "positions": 4, "hidden": 8, "epsilon_exponent": 5}


def test_it_is_built_from_its_sizes() -> None:
    layer = FusedEmbeddings(FusedEmbeddingsSizes(words=5, positions=4, hidden=8, epsilon_exponent=5))
    again = FusedEmbeddings.build(FusedEmbeddings.sizes_of(layer))
    again.load_state_dict(layer.state_dict())
    ids = tensor([[4, 0, 2]])
    assert torch.equal(again(ids), layer(ids))
