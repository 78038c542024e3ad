"""An embedding table in int8 blocks of 32, and the head of a model that reads the same table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from compress.nn.layers import block_linear as _operator  # noqa: F401  (the head's operator exists once it is imported)
from compress.nn.layers.embedding import rows_as_read
from compress.nn.ops.blocks import block_count, dequantize_blocks, quantize_blocks


def int8_block_embedding(indices: Tensor, weight: Tensor, weight_scale: Tensor) -> Tensor:
    """indices: (...) integers. weight: int8 (rows, width). weight_scale: float16 (rows, blocks)."""
    return dequantize_blocks(weight[indices], weight_scale[indices])


def _shape(indices: Tensor, weight: Tensor, weight_scale: Tensor) -> Tensor:
    return torch.empty(*indices.shape, weight.shape[1], device=indices.device)


torch.library.custom_op("compress::int8_block_embedding", int8_block_embedding, mutates_args=()).register_fake(_shape)


class Int8BlockEmbedding(nn.Module):
    """Int8 rows, an FP16 scale for each block of a row. A row is scaled back when it is looked up.

    factor: what a row is multiplied by afterwards, where the table that it stands for did so (Gemma's); a head that
    reads the same table does not.
    """

    kind: ClassVar[str] = "int8_block_embedding"
    plain_keys: ClassVar[bool] = False

    def __init__(self, rows: int, width: int, scaled: bool) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = rows, width
        self.register_buffer("weight_blocks", torch.zeros(rows, width, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.zeros(rows, block_count(width), dtype=torch.float16))
        self.register_buffer("factor", torch.ones(()) if scaled else None)
        self.weight_blocks: Tensor
        self.weight_scale: Tensor
        self.factor: Tensor | None

    @classmethod
    def of(cls, embedding: nn.Embedding) -> Int8BlockEmbedding:
        """Quantize a table's rows."""
        weight = embedding.weight.detach().float()
        place = int(weight.abs().argmax())
        factor = rows_as_read(embedding).flatten()[place] / weight.flatten()[place] if weight.any() else torch.ones(())
        layer = cls(embedding.num_embeddings, embedding.embedding_dim, scaled=bool(factor != 1))
        values, scale = quantize_blocks(weight, 8)
        layer.weight_blocks.copy_(values)
        layer.weight_scale.copy_(scale)
        if layer.factor is not None:
            layer.factor.copy_(factor)
        return layer

    @staticmethod
    def sizes_of(module: Int8BlockEmbedding) -> dict[str, int]:
        """What `build` needs."""
        return {
            "rows": module.num_embeddings,
            "width": module.embedding_dim,
            "scaled": int(module.factor is not None),
        }

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """An empty table of these sizes, to be filled by a strict load."""
        return cls(sizes["rows"], sizes["width"], bool(sizes["scaled"]))

    @property
    def weight(self) -> Tensor:
        """The whole table, scaled back: float32 (rows, width)."""
        return dequantize_blocks(self.weight_blocks, self.weight_scale)

    def forward(self, indices: Tensor) -> Tensor:
        """indices: (...). Returns (..., width)."""
        rows = torch.ops.compress.int8_block_embedding(indices, self.weight_blocks, self.weight_scale)
        return rows if self.factor is None else rows * self.factor


class TiedBlockHead(nn.Module):
    """A head whose weights are the rows of the model's embedding table, which alone holds them.

    The table is not a part of this module, or its integers would be stored twice: `read` gives it, once both are there.
    """

    kind: ClassVar[str] = "tied_int8_block_head"
    plain_keys: ClassVar[bool] = False

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        # In a tuple, which modules do not look into.
        self._table: tuple[Int8BlockEmbedding, ...] = ()

    @staticmethod
    def sizes_of(module: TiedBlockHead) -> dict[str, int]:
        """What `build` needs."""
        return {"inputs": module.in_features, "outputs": module.out_features}

    @classmethod
    def build(cls, sizes: Mapping[str, int]) -> nn.Module:
        """A head that has no table yet."""
        return cls(sizes["inputs"], sizes["outputs"])

    def read(self, table: Int8BlockEmbedding) -> TiedBlockHead:
        """Compute with the rows of this table. Raises ValueError where it has another shape."""
        if (table.num_embeddings, table.embedding_dim) != (self.out_features, self.in_features):
            raise ValueError(
                f"a table of {table.num_embeddings} x {table.embedding_dim} is no head of {self.in_features} to "
                f"{self.out_features}"
            )
        self._table = (table,)
        return self

    @property
    def table(self) -> Int8BlockEmbedding:
        """What it reads. Raises ValueError before there is one."""
        if not self._table:
            raise ValueError("a tied head reads no table yet")
        return self._table[0]

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (..., in). Returns (..., out)."""
        table = self.table
        return torch.ops.compress.int8_block_linear(inputs, table.weight_blocks, table.weight_scale, None)
