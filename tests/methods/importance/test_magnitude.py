"""Norms of weights, of a real model's parts."""

from __future__ import annotations

from collections.abc import Callable

import torch

from compress.methods.importance.magnitude import Magnitude
from compress.nn.family import layers_of
from compress.nn.scale import fold_scales


@torch.no_grad()
def test_weights_of_one_head_and_one_neuron(make_model: Callable, make_context: Callable, plain_type: str) -> None:
    model = make_model(plain_type, layers=2)
    fold_scales(model)
    layer = layers_of(model)[1]
    for part in layer.parts:
        layer.part(part).weight.zero_()
    layer.part("query").weight[9, 0] = 3
    layer.part("attention_output").weight[0, 15] = 4
    layer.part("ffn_in").weight[5, :2] = 1
    layer.part("ffn_out").weight[:2, 5] = 2
    found = Magnitude().of(model, make_context(model))[1]
    assert found.heads.tolist() == [0, 5, 0, 0]
    # sqrt(1 + 1) * sqrt(4 + 4).
    torch.testing.assert_close(found.neurons, 4.0 * (torch.arange(64) == 5).double())
    # 9 + 16 + 2 + 8.
    torch.testing.assert_close(found.layer, 35**0.5)
