"""An embedding table in int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.nn.layers.embedding import rows_as_read
from compress.nn.ops.int8 import quantize_rows


class Int8Embedding(nn.Module):
    """Int8 rows, a scale for each row: a quarter of the bytes. A row is scaled back when it is looked up."""

    kind: ClassVar[str] = "int8_embedding"
    plain_keys: ClassVar[bool] = False

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = rows, width
        self.register_buffer("weight_int8", torch.zeros(rows, width, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(rows, 1))
        self.weight_int8: Tensor
        self.weight_scale: Tensor

    @classmethod
    def of(cls, embedding: nn.Embedding) -> Int8Embedding:
        """Quantize a table's rows."""
        layer = cls(embedding.num_embeddings, embedding.embedding_dim)
        values, scale = quantize_rows(rows_as_read(embedding))
        layer.weight_int8.copy_(values)
        layer.weight_scale.copy_(scale[:, None])
        return layer

    @staticmethod
    def sizes_of(module: Int8Embedding) -> dict[str, int]:
        """What `build` needs."""
        return {"rows": module.num_embeddings, "width": module.embedding_dim}

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """An empty table of these sizes, to be filled by a strict load."""
        return cls(sizes["rows"], sizes["width"])

    @property
    def weight(self) -> Tensor:
        """The whole table, scaled back: (rows, width). A runtime computes it once, when it opens the model."""
        return self.weight_int8.to(self.weight_scale.dtype) * self.weight_scale

    def forward(self, indices: Tensor) -> Tensor:
        """indices: (...). Returns (..., width)."""
        # nn.functional.embedding refuses int8; indexing gathers the same rows.
        values = self.weight_int8[indices].to(self.weight_scale.dtype)
        return values * functional.embedding(indices, self.weight_scale)
