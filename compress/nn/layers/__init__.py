"""Modules that a Structure can name. What a checkpoint names is looked up here and nowhere else."""

from __future__ import annotations

from compress.nn.layers.block_embedding import Int8BlockEmbedding, TiedBlockHead
from compress.nn.layers.block_linear import Int4BlockLinear, Int8BlockLinear
from compress.nn.layers.dropped import NoAttention, Nothing
from compress.nn.layers.fused_embeddings import FusedEmbeddings
from compress.nn.layers.fused_layer import FusedLayer
from compress.nn.layers.int4_embedding import Int4Embedding
from compress.nn.layers.int8_embedding import Int8Embedding
from compress.nn.layers.int8_linear import Int8DynamicLinear, Int8StaticLinear
from compress.nn.layers.linear import PlainLinear
from compress.nn.layers.low_rank_embedding import LowRankEmbedding
from compress.nn.layers.low_rank_linear import LowRankLinear
from compress.nn.layers.masked_linear import MaskedLinear

KINDS = {
    layer.kind: layer
    for layer in (
        PlainLinear,
        MaskedLinear,
        LowRankLinear,
        LowRankEmbedding,
        Nothing,
        NoAttention,
        FusedLayer,
        FusedEmbeddings,
        Int8DynamicLinear,
        Int8StaticLinear,
        Int8Embedding,
        Int4Embedding,
        Int8BlockLinear,
        Int4BlockLinear,
        Int8BlockEmbedding,
        TiedBlockHead,
    )
}

__all__ = [
    "KINDS",
    "FusedEmbeddings",
    "FusedLayer",
    "Int4BlockLinear",
    "Int4Embedding",
    "Int8BlockEmbedding",
    "Int8BlockLinear",
    "Int8DynamicLinear",
    "Int8Embedding",
    "Int8StaticLinear",
    "LowRankEmbedding",
    "LowRankLinear",
    "MaskedLinear",
    "NoAttention",
    "Nothing",
    "PlainLinear",
    "TiedBlockHead",
]
