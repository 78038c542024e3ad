"""Rows taken apart and scaled back when they are looked up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn, tensor

from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.nn.layers import Int4Embedding
from compress.runtimes.onnx.export import export_module


def test_by_hand() -> None:
    table = nn.Embedding(3, 3)
    with torch.no_grad():
        table.weight.copy_(tensor([[7.0, -2.0, 1.0], [0.0, 0.0, 0.0], [-0.7, 0.1, 0.3]]))
    layer = Int4Embedding.of(table)
    # 7 -2 1, and -7 1 3 of a tenth: the first two are the lower ones.
    assert layer.weight_int4.tolist() == [[7 + 16 * 1, -2], [0, 0], [-7 + 16 * 3, 1]]
    torch.testing.assert_close(
        layer(tensor([[2, 0], [1, 2]])), tensor([[[-0.7, 0.1, 0.3], [7, -2, 1]], [[0, 0, 0], [-0.7, 0.1, 0.3]]])
    )


def test_half_a_byte_for_each_value() -> None:
    layer = Int4Embedding.of(nn.Embedding(100, 32))
    assert sum(value.numel() * value.element_size() for value in layer.state_dict().values()) == 100 * 16 + 100 * 4
    assert (layer.num_embeddings, layer.embedding_dim) == (100, 32)


class LookUp(nn.Module):
    """What the exporter is given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = Int4Embedding.of(nn.Embedding(1000, width))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.layer(inputs["input_ids"])


@pytest.mark.parametrize("width", [32, 33])
def test_a_session_computes_the_same_bits(tmp_path: Path, width: int) -> None:
    module, ids = LookUp(width).eval(), torch.randint(0, 1000, (2, 9))
    signature = Signature(
        inputs=(Port("input_ids", (BATCH, SEQUENCE), "int64"),),
        output=Port("vectors", (BATCH, SEQUENCE, "hidden"), "float32"),
        mask=None,
    )
    path = export_module(module, signature, {"input_ids": ids}, tmp_path)
    # Half a byte a value in the file too.
    assert path.stat().st_size < 1000 * (width + 1) // 2 + 1000 * 4 + 16_000
    assert {node.domain for node in onnx.load(path).graph.node} <= {"", "ai.onnx"}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    other = torch.randint(0, 1000, (3, 5))
    (found,) = session.run(None, {"input_ids": other.numpy()})
    np.testing.assert_array_equal(found, module({"input_ids": other}).numpy())
