"""Attention by hand, and the two forms in which a graph has it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn, tensor

from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.nn.layers import FusedLayer
from compress.nn.layers.fused_layer import ACTIVATIONS, FusedLayerSizes
from compress.runtimes.onnx.export import export_module

SIZES = FusedLayerSizes(
    hidden=12,
    heads=3,
    head_size=4,
    neurons=5,
    activation=ACTIVATIONS.index("relu"),
    epsilon_exponent=5,
    first_token=0,
    separate=0,
)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    return torch.ops.compress.attention([query, key, value], mask, heads)


def test_two_heads_by_hand() -> None:
    # Head 1 scores ln 3 and 0: shares 3/4 and 1/4 of 8 and 4. Head 2 scores 0 and 0: the mean of 2 and 6.
    query, key = tensor([[[1.0, 5.0]]]), tensor([[[math.log(3), 0.0], [0.0, 0.0]]])
    value = tensor([[[8.0, 2.0], [4.0, 6.0]]])
    torch.testing.assert_close(attention(query, key, value, None, 2), tensor([[[7.0, 4.0]]]))
    # Without the second key there is nothing to share.
    mask = tensor([[[[0.0, -1e30]]]])
    torch.testing.assert_close(attention(query, key, value, mask, 2), tensor([[[8.0, 2.0]]]))


def test_one_head_of_two_scores_both_together() -> None:
    # 2 * ln 2 + 1 * ln 2 against 0: shares 8/9 and 1/9.
    query, key = tensor([[[2.0, 1.0]]]), tensor([[[math.log(2), math.log(2)], [0.0, 0.0]]])
    value = tensor([[[9.0, 0.0], [0.0, 18.0]]])
    torch.testing.assert_close(attention(query, key, value, None, 1), tensor([[[8.0, 2.0]]]))


def test_projections_side_by_side_are_those_apart() -> None:
    query, key, value = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    expected = attention(query, key, value, None, 3)
    for together in ([torch.cat([query, key, value], -1)], [query, torch.cat([key, value], -1)]):
        torch.testing.assert_close(torch.ops.compress.attention(together, None, 3), expected)


SIGNATURE = Signature(
    inputs=(Port("states", (BATCH, SEQUENCE, "hidden"), "float32"), Port("mask", (BATCH, SEQUENCE), "float32")),
    output=Port("logits", (BATCH, "hidden"), "float32"),
    mask="mask",
    fixed={"hidden": 12},
)


class Two(nn.Module):
    """A layer of all tokens and one of the first, under a mask made as the export makes it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.whole, self.last = FusedLayer(SIZES), FusedLayer(dataclasses.replace(SIZES, first_token=1))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        mask = (1 - inputs["mask"]) * torch.finfo(torch.float32).min
        mask = mask[:, None, None, :]
        return self.last(self.whole(inputs["states"], mask), mask)[:, 0]


@pytest.mark.parametrize("operator", [True, False], ids=["operator", "parts"])
@torch.no_grad()
def test_both_forms_compute_the_same(operator: bool, tmp_path: Path) -> None:
    module = Two().eval()
    example = {"states": torch.randn(2, 5, 12), "mask": torch.ones(2, 5)}
    path = export_module(module, SIGNATURE, example, tmp_path, attention_operator=operator)
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    counts = Counter(node.op_type for node in graph.graph.node)
    assert (counts["Attention"], counts["Softmax"], counts["Transpose"]) == ((2, 0, 0) if operator else (0, 2, 7))
    assert [entry.version for entry in graph.opset_import] == [23 if operator else 20]
    # What the operator could also return is not asked for: it would be copied.
    assert all(len(node.output) == 1 for node in graph.graph.node if node.op_type == "Attention")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for batch, length in ((1, 2), (1, 9), (3, 7)):
        states, mask = torch.randn(batch, length, 12), torch.ones(batch, length)
        # On the left, and on the right.
        mask[1:2, : length // 2], mask[2:, length // 2 :] = 0, 0
        found = session.run(None, {"states": states.numpy(), "mask": mask.numpy()})[0]
        expected = module({"states": states, "mask": mask})
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)
