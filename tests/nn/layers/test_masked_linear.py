"""Zeros that no training moves."""

from __future__ import annotations

import copy

import torch
from torch import nn, tensor

from compress.nn.layers import MaskedLinear


def layer_with_zeros() -> tuple[MaskedLinear, torch.Tensor]:
    torch.manual_seed(0)
    dense = nn.Linear(8, 4)
    mask = dense.weight.abs() > 0.15
    return MaskedLinear.of(dense, mask).eval(), mask


def train(layer: nn.Module, steps: int) -> None:
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.05, weight_decay=0.1)
    layer.train()
    for _ in range(steps):
        optimizer.zero_grad()
        (layer(torch.randn(16, 8)) - 1).pow(2).mean().backward()
        optimizer.step()


def test_by_hand() -> None:
    dense = nn.Linear(2, 2)
    with torch.no_grad():
        dense.weight.copy_(tensor([[1.0, 2.0], [3.0, 4.0]]))
        dense.bias.copy_(tensor([10.0, 20.0]))
    layer = MaskedLinear.of(dense, tensor([[True, False], [False, True]]))
    assert layer.weight.tolist() == [[1.0, 0.0], [0.0, 4.0]]
    assert layer(tensor([1.0, 1.0])).tolist() == [11.0, 24.0]
    assert dense.weight.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_zeros_stay_and_the_rest_learns() -> None:
    layer, mask = layer_with_zeros()
    before = layer.weight.detach().clone()
    train(layer, 20)
    assert torch.equal(layer.weight != 0, mask)
    assert bool(((layer.weight - before).abs() > 1e-3)[mask].all())


def test_zeros_stay_over_switches_between_training_and_evaluation() -> None:
    layer, mask = layer_with_zeros()
    for _ in range(3):
        train(layer, 5)
        layer.eval()
    assert torch.equal(layer.weight != 0, mask)


def test_zeros_stay_in_a_deep_copy_made_while_training() -> None:
    layer, mask = layer_with_zeros()
    train(layer, 3)
    twin = copy.deepcopy(layer)
    train(twin, 5)
    assert torch.equal(twin.weight != 0, mask)
    assert not torch.equal(twin.weight, layer.weight)


def test_a_weight_that_learning_takes_through_zero_is_not_lost() -> None:
    layer, mask = layer_with_zeros()
    layer.train()
    row, column = mask.nonzero()[0].tolist()
    with torch.no_grad():
        layer.weight[row, column] = 0
    train(layer, 3)
    assert layer.weight[row, column] != 0


def test_same_output_in_training_and_evaluation() -> None:
    layer, _ = layer_with_zeros()
    inputs = torch.randn(3, 8)
    assert torch.equal(layer.train()(inputs), layer.eval()(inputs))


def test_nothing_but_weight_and_bias_is_stored() -> None:
    layer, _ = layer_with_zeros()
    assert set(layer.train().state_dict()) == {"weight", "bias"}


def test_filled_while_in_training_mode() -> None:
    # A loader builds in training mode, with random weights, and fills later.
    layer, mask = layer_with_zeros()
    empty = MaskedLinear.build({"inputs": 8, "outputs": 4, "bias": 1}).train()
    empty.load_state_dict(layer.state_dict())
    empty.eval()
    train(empty, 5)
    assert torch.equal(empty.weight != 0, mask)
