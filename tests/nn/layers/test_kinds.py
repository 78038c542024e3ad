"""Every kind of layer: described, built empty, filled strictly, the same again."""

from __future__ import annotations

import pytest
import torch
from torch import nn, tensor

from compress.nn.layers import (
    KINDS,
    FusedEmbeddings,
    FusedLayer,
    Int4BlockLinear,
    Int4Embedding,
    Int8BlockEmbedding,
    Int8BlockLinear,
    Int8DynamicLinear,
    Int8Embedding,
    Int8StaticLinear,
    LowRankEmbedding,
    LowRankLinear,
    MaskedLinear,
    NoAttention,
    Nothing,
    TiedBlockHead,
)
from compress.nn.layers.fused_embeddings import FusedEmbeddingsSizes
from compress.nn.layers.fused_layer import FusedLayerSizes

TABLES = {"words": 9, "positions": 5, "hidden": 4, "epsilon_exponent": 12}
READS_TOKENS = ("int8_embedding", "int4_embedding", "int8_block_embedding", "low_rank_embedding", "fused_embeddings")
FUSED = {
    "hidden": 6,
    "heads": 2,
    "head_size": 3,
    "neurons": 4,
    "activation": 1,
    "epsilon_exponent": 5,
    "first_token": 0,
    "separate": 0,
}


def example_of(kind: str, bias: bool) -> tuple[nn.Module, dict[str, int]]:
    """A filled layer of this kind, 6 to 4, and the sizes that describe it."""
    torch.manual_seed(0)
    dense = nn.Linear(6, 4, bias=bias)
    layers: dict[str, tuple[nn.Module, dict[str, int]]] = {
        "linear": (dense, {"inputs": 6, "outputs": 4, "bias": int(bias)}),
        "masked_linear": (
            MaskedLinear.of(dense, dense.weight > 0),
            {"inputs": 6, "outputs": 4, "bias": int(bias)},
        ),
        "low_rank": (
            LowRankLinear.of(torch.randn(4, 2), torch.randn(2, 6), torch.randn(4) if bias else None),
            {"inputs": 6, "outputs": 4, "rank": 2, "bias": int(bias)},
        ),
        "low_rank_embedding": (
            LowRankEmbedding.of(torch.randn(9, 2), torch.randn(4, 2)),
            {"tokens": 9, "rank": 2, "width": 4},
        ),
        "int8_dynamic_linear": (Int8DynamicLinear.of(dense), {"inputs": 6, "outputs": 4}),
        "int8_static_linear": (
            Int8StaticLinear.of(dense).fix_inputs(tensor(0.02), tensor(128.0)),
            {"inputs": 6, "outputs": 4},
        ),
        "fused_layer": (FusedLayer(FusedLayerSizes(**FUSED)), FUSED),
        "fused_embeddings": (FusedEmbeddings(FusedEmbeddingsSizes(**TABLES)), TABLES),
        "nothing": (Nothing(), {}),
        "no_attention": (NoAttention(), {}),
        "int8_embedding": (Int8Embedding.of(nn.Embedding(9, 4)), {"rows": 9, "width": 4}),
        "int4_embedding": (Int4Embedding.of(nn.Embedding(9, 4)), {"rows": 9, "width": 4}),
        "int8_block_linear": (Int8BlockLinear.of(dense), {"inputs": 6, "outputs": 4, "bias": int(bias)}),
        "int4_block_linear": (Int4BlockLinear.of(dense), {"inputs": 6, "outputs": 4, "bias": int(bias)}),
        "int8_block_embedding": (Int8BlockEmbedding.of(nn.Embedding(9, 4)), {"rows": 9, "width": 4, "scaled": 0}),
        "tied_int8_block_head": (TiedBlockHead(6, 4), {"inputs": 6, "outputs": 4}),
    }
    return layers[kind]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_built_from_its_sizes_and_filled(kind: str, bias: bool) -> None:
    layer, sizes = example_of(kind, bias)
    assert KINDS[kind].sizes_of(layer) == sizes
    again = KINDS[kind].build(sizes)
    assert type(again) is type(layer)
    again.load_state_dict(layer.state_dict(), strict=True)
    if kind == "tied_int8_block_head":
        table = Int8BlockEmbedding.of(nn.Embedding(4, 6))
        layer, again = layer.read(table), again.read(table)
    inputs = tensor([[0, 8, 3]]) if kind in READS_TOKENS else torch.randn(2, 3, 6)
    found, expected = again.eval()(inputs), layer.eval()(inputs)
    if kind == "no_attention":
        assert (found[1], expected[1]) == (None, None)
        found, expected = found[0], expected[0]
    assert found.shape[:2] == inputs.shape[:2]
    assert torch.equal(found, expected)


def test_kinds_are_named_after_themselves() -> None:
    assert {kind: layer.kind for kind, layer in KINDS.items()} == {kind: kind for kind in KINDS}
