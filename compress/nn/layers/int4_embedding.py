"""An embedding table in int4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.nn.layers.embedding import rows_as_read
from compress.nn.ops.int4 import pack, quantize_rows_to_int4, unpack


class Int4Embedding(nn.Module):
    """Two values in a byte, a scale for each row: an eighth of the bytes. A row is taken apart and scaled back when it
    is looked up, with operators that every runtime has."""

    kind: ClassVar[str] = "int4_embedding"
    plain_keys: ClassVar[bool] = False

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = rows, width
        self.register_buffer("weight_int4", torch.zeros(rows, (width + 1) // 2, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(rows, 1))
        self.weight_int4: Tensor
        self.weight_scale: Tensor

    @classmethod
    def of(cls, embedding: nn.Embedding) -> Int4Embedding:
        """Quantize a table's rows."""
        layer = cls(embedding.num_embeddings, embedding.embedding_dim)
        values, scale = quantize_rows_to_int4(rows_as_read(embedding))
        layer.weight_int4.copy_(pack(values))
        layer.weight_scale.copy_(scale[:, None])
        return layer

    @staticmethod
    def sizes_of(module: Int4Embedding) -> dict[str, int]:
        """What `build` needs."""
        return {"rows": module.num_embeddings, "width": module.embedding_dim}

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """An empty table of these sizes, to be filled by a strict load."""
        return cls(sizes["rows"], sizes["width"])

    def forward(self, indices: Tensor) -> Tensor:
        """indices: (...). Returns (..., width)."""
        packed = self.weight_int4[indices].to(self.weight_scale.dtype)
        return unpack(packed, self.embedding_dim) * functional.embedding(indices, self.weight_scale)
