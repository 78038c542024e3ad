"""Two thin matrices and the original bias."""

from __future__ import annotations

import torch
from torch import tensor

from compress.nn.layers import LowRankLinear


def test_by_hand() -> None:
    layer = LowRankLinear.of(tensor([[1.0], [2.0]]), tensor([[3.0, -1.0]]), tensor([10.0, 20.0]))
    # 3 * 2 - 1 * 4 = 2, then (2, 4) + (10, 20).
    assert layer(tensor([2.0, 4.0])).tolist() == [12.0, 24.0]
    assert LowRankLinear.of(tensor([[1.0], [2.0]]), tensor([[3.0, -1.0]]), None)(tensor([2.0, 4.0])).tolist() == [2, 4]


def test_double_precision_factors_become_float32() -> None:
    layer = LowRankLinear.of(torch.ones(4, 2).double(), torch.ones(2, 6).double(), None)
    assert {value.dtype for value in layer.state_dict().values()} == {torch.float32}
    assert set(layer.state_dict()) == {"down.weight", "up.weight"}
