"""What learns computes what is stored, begins from the integers there are, and steps as worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn, tensor

from compress.nn.fake_quantized import FakeQuantized, FakeQuantizedBlocks, FakeQuantizedInt8, FrozenTiedHead
from compress.nn.layers import (
    Int4BlockLinear,
    Int8BlockEmbedding,
    Int8BlockLinear,
    Int8DynamicLinear,
    Int8StaticLinear,
    TiedBlockHead,
)

BLOCKS = [Int8BlockLinear, Int4BlockLinear]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()


def dense(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A dense layer with these weights (out, in)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def step(layer: FakeQuantized, inputs: Tensor, learning_rate: float) -> None:
    """One step of plain gradient descent on the sum of the outputs."""
    optimizer = torch.optim.SGD(layer.parameters(), lr=learning_rate)
    optimizer.zero_grad()
    layer(inputs).sum().backward()
    optimizer.step()


def test_a_step_of_blocks_by_hand() -> None:
    linear = dense(tensor([[127.0, 2.3, -4.0]]), tensor([1.0]))
    layer = FakeQuantizedBlocks(Int8BlockLinear.of(linear), linear)
    # The scale is 1, the integers 127, 2 and -4.
    assert layer(tensor([[0.0, 1.0, 2.0]])).item() == 127 * 0 + 2 - 8 + 1
    step(layer, tensor([[0.0, 1.0, 2.0]]), 0.5)
    # Weights go by their inputs, as if nothing were rounded: 2.3 - 0.5, -4 - 1; the bias by 1.
    assert layer.weight[0].tolist() == pytest.approx([127, 1.8, -5])
    assert layer.bias is not None and layer.bias.item() == 0.5
    # The scale's derivative is 1 * (2 - 2.3) + 2 * (-4 - -4), its growth's the same times the scale: 1 to e^0.15.
    assert layer.growth.item() == pytest.approx(0.15)
    stored = layer.stored()
    assert stored.weight_scale.item() == pytest.approx(np.exp(0.15), rel=1e-3)
    # In steps of 1.162: 109.3, 1.55 and -4.3.
    assert stored.values[0].tolist() == [109, 2, -4]


def test_a_step_of_int8_by_hand() -> None:
    linear = dense(tensor([[1.27, 0.504]]), tensor([1.0]))
    layer = FakeQuantizedInt8(Int8StaticLinear.of(linear).fix_inputs(tensor(0.5), tensor(10.0)), linear, 8)
    inputs = tensor([[2.3, -1.0]], requires_grad=True)
    # 5 and -2 steps of 0.5; 127 and 50 of 0.01.
    assert layer(inputs).item() == pytest.approx((5 * 127 - 2 * 50) * 0.005 + 1)
    step(layer, inputs, 0.1)
    # By what the rounded inputs stand for, 2.5 and -1; what comes before by what the rounded weights stand for.
    assert layer.weight[0].tolist() == pytest.approx([1.02, 0.604])
    assert inputs.grad is not None and inputs.grad[0].tolist() == pytest.approx([1.27, 0.5])
    stored = layer.stored()
    # 0.604 / 1.02 of 127 is 75.2.
    assert stored.weight_int8.T.tolist() == [[127, 75]]
    assert stored.weight_scale.item() == pytest.approx(1.02 / 127)
    assert stored.bias.item() == pytest.approx(0.9)
    assert isinstance(stored, Int8StaticLinear) and stored.input_scale.item() == 0.5


@pytest.mark.parametrize("kind", BLOCKS)
@settings(max_examples=30, deadline=None)
@given(columns=st.integers(1, 80), power=st.floats(-2, 2), moved=st.integers(-2, 2), seed=st.integers(0, 10**6))
def test_training_begins_from_the_integers_there_are(
    kind: type[Int8BlockLinear], columns: int, power: float, moved: int, seed: int
) -> None:
    """Also where they are not the nearest, as after a correction."""
    weight = drawn(seed, 4, columns) * 10**power
    linear, nearest = dense(weight), kind.of(dense(weight))
    low, high = (-8, 7) if kind is Int4BlockLinear else (-127, 127)
    values = (nearest.values + moved).clamp(low, high).to(torch.int8)
    stored = kind.from_blocks(values, nearest.weight_scale, None)
    layer = FakeQuantizedBlocks(stored, linear)
    inputs = drawn(seed + 1, 3, columns)
    assert torch.equal(layer(inputs), stored(inputs))
    alive = (nearest.weight_scale != 0).repeat_interleave(32, dim=1)[:, :columns]
    assert torch.equal(layer.stored().values[alive], values[alive])
    # As near to the float weights as that allows: where those round to these integers, it is they.
    if moved == 0:
        steps = weight / nearest.weight_scale.float().repeat_interleave(32, dim=1)[:, :columns]
        plain = alive & (steps > low) & (steps < high) & ((steps - steps.round()).abs() < 0.48)
        torch.testing.assert_close(layer.weight[plain], weight[plain])


@pytest.mark.parametrize("kind", [*BLOCKS, Int8DynamicLinear, Int8StaticLinear])
@pytest.mark.parametrize("bias", [True, False])
def test_what_is_stored_computes_what_the_last_pass_did(kind: type, bias: bool) -> None:
    linear = dense(drawn(0, 6, 70), drawn(1, 6) if bias else None)
    layer: FakeQuantized
    if issubclass(kind, Int8BlockLinear):
        layer = FakeQuantizedBlocks(kind.of(linear), linear)
    else:
        made = kind.of(linear, 8)
        if isinstance(made, Int8StaticLinear):
            made.fix_inputs(tensor(0.02), tensor(120.0))
        layer = FakeQuantizedInt8(made, linear, 8)
    before = layer(drawn(2, 5, 70))
    for number in range(3):
        step(layer, drawn(3 + number, 5, 70), 0.02)
    found = layer(drawn(2, 5, 70))
    assert not torch.equal(found, before)
    assert torch.equal(layer.stored()(drawn(2, 5, 70)), found)
    assert type(layer.stored()) is kind


@pytest.mark.parametrize("kind", [*BLOCKS, Int8DynamicLinear])
def test_pruned_weights_stay_zero(kind: type) -> None:
    weight = drawn(0, 4, 40)
    pruned = drawn(1, 4, 40) > 0
    linear = dense(weight.masked_fill(pruned, 0))
    made = kind.of(linear)
    layer = FakeQuantizedInt8(made, linear, 8) if kind is Int8DynamicLinear else FakeQuantizedBlocks(made, linear)
    for number in range(3):
        step(layer, drawn(2 + number, 5, 40), 0.1)
    stored = layer.stored()
    values = stored.weight_int8.T if isinstance(stored, Int8DynamicLinear) else stored.values
    assert not values[pruned].any() and values[~pruned].any()


def test_bits_of_a_narrower_product_stay_narrower() -> None:
    linear = dense(drawn(0, 4, 40))
    layer = FakeQuantizedInt8(Int8DynamicLinear.of(linear, 7), linear, 7)
    step(layer, drawn(1, 5, 40), 0.1)
    assert int(layer.stored().weight_int8.abs().max()) == 63


def test_mixed_precision_takes_nothing_from_the_integers() -> None:
    # Steps of a 128th: 255 and 1 of inputs, 127 and -57 of weights.
    linear = dense(tensor([[127.0, -57.0]]) / 128)
    layer = FakeQuantizedInt8(Int8DynamicLinear.of(linear), linear, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(tensor([[255.0, 1.0]]) / 128)
    # 255 * 127 - 57 is 32328, between 32256 and 32384, which bfloat16 has; the second is nearer.
    assert found.dtype == torch.bfloat16
    assert found.item() == 32384 / 128**2


def test_a_tied_head_can_be_trained_through() -> None:
    table = Int8BlockEmbedding.of(nn.Embedding(9, 40))
    head = TiedBlockHead(40, 9).read(table)
    frozen = FrozenTiedHead(head)
    inputs = drawn(0, 3, 40).requires_grad_()
    assert torch.equal(frozen(inputs), head(inputs.detach()))
    frozen(inputs).sum().backward()
    torch.testing.assert_close(inputs.grad, table.weight.sum(0).expand(3, 40))
    assert frozen.stored() is head and not list(frozen.parameters()) and not frozen.state_dict()
