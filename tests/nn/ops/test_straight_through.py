"""What goes forward is what is stored, bit for bit; derivatives by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from compress.nn.ops.blocks import block_count, dequantize_blocks, quantize_blocks
from compress.nn.ops.int8 import dynamic_scale, int8_product, quantize_rows
from compress.nn.ops.straight_through import (
    integers_in_blocks,
    integers_of_inputs,
    integers_of_rows,
    stored_scale,
    straight_through,
    widened,
)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()


def test_the_one_goes_forward_and_the_other_is_derived() -> None:
    values = tensor([0.3, 1.7], requires_grad=True)
    found = straight_through(values, tensor([0.0, 2.0]))
    assert found.tolist() == [0, 2]
    (found * tensor([5.0, -3.0])).sum().backward()
    assert values.grad is not None and values.grad.tolist() == [5, -3]


def test_no_bit_of_what_is_stored_is_lost() -> None:
    # 1e8 + (0.1 - 1e8) is 0 in float32.
    assert straight_through(tensor([1e8]), tensor([0.1])).item() == tensor(0.1).item()


def test_scales_are_as_fp16_has_them() -> None:
    scale = tensor([0.1, 1e6, -1e6, 1e-9], requires_grad=True)
    found = stored_scale(scale)
    # 0.1 is 0.0999755859375 in FP16, whose largest number is 65504.
    assert found.tolist() == [0.0999755859375, 65504, -65504, 0]
    found.sum().backward()
    assert scale.grad is not None and scale.grad.tolist() == [1, 1, 1, 1]


def test_a_block_by_hand() -> None:
    # In steps of -0.5 these are -8, -2, 1, 7, -0.4 and -10, of which -8 is left.
    weight = torch.zeros(1, 32)
    weight[0, :6] = tensor([4, 1, -0.5, -3.5, 0.2, 5])
    weight.requires_grad_()
    scale = tensor([[-0.5]], requires_grad=True)
    integers = integers_in_blocks(weight, scale, 4)
    assert integers[0, :7].tolist() == [-8, -2, 1, 7, 0, -8, 0]
    stands_for = integers * widened(scale, 32)
    assert stands_for[0, :7].tolist() == [4, 1, -0.5, -3.5, 0, 4, 0]
    stands_for[0, :6].sum().backward()
    assert weight.grad is not None and scale.grad is not None
    # As if nothing were rounded, but for the last, which is cut off.
    assert weight.grad[0, :7].tolist() == [1, 1, 1, 1, 1, 0, 0]
    # round(v) - v is 0 - -0.4 for the fifth and 0 for those on a step; of what is cut off, the end, -8.
    assert scale.grad.item() == pytest.approx(0.4 - 8)


def test_a_scale_of_zero_stands_for_zeros() -> None:
    weight, scale = torch.ones(1, 3, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    found = integers_in_blocks(weight, scale, 8) * widened(scale, 3)
    found.sum().backward()
    assert not found.any()
    assert weight.grad is not None and not weight.grad.any()
    assert scale.grad is not None and scale.grad.item() == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 100), st.floats(-3, 3), st.sampled_from([8, 4]), st.integers(0, 10**6))
def test_blocks_are_what_is_stored(rows: int, columns: int, power: float, bits: int, seed: int) -> None:
    weight = drawn(seed, rows, columns) * 10**power
    values, scale = quantize_blocks(weight, bits)
    found = integers_in_blocks(weight, scale.float(), bits)
    assert scale.shape[1] == block_count(columns)
    assert torch.equal(found.to(torch.int8), values)
    assert torch.equal(found * widened(scale.float(), columns), dequantize_blocks(values, scale))


def test_a_row_by_hand() -> None:
    weight = tensor([[1.27, 0.504]], requires_grad=True)
    integers, scale = integers_of_rows(weight, 8)
    assert integers.tolist() == [[127, 50]]
    assert scale.tolist() == pytest.approx([0.01])
    (integers * scale[:, None] * tensor([[3.0, -2.0]])).sum().backward()
    assert weight.grad is not None and weight.grad[0].tolist() == pytest.approx([3, -2])


def test_inputs_by_hand() -> None:
    # In steps of 0.5 from -10: -1.5 is 7, 2.3 is 14.6, 200 would be 410 and -9 would be -8.
    inputs = tensor([-1.5, 2.3, 200.0, -9.0], requires_grad=True)
    found = integers_of_inputs(inputs, tensor(0.5), tensor(10.0))
    assert found.tolist() == [-3, 5, 245, -10]
    (found * 0.5).sum().backward()
    assert inputs.grad is not None and inputs.grad.tolist() == [1, 1, 0, 0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 60), st.floats(-3, 3), st.sampled_from([8, 7]), st.integers(0, 10**6))
def test_products_of_integers_are_those_of_the_layer(
    rows: int, columns: int, power: float, bits: int, seed: int
) -> None:
    inputs, weight = drawn(seed, 17, columns) * 10**power, drawn(seed + 1, rows, columns)
    values, scale = quantize_rows(weight, bits)
    integers, found_scale = integers_of_rows(weight, bits)
    assert torch.equal(found_scale, scale)
    ours = integers_of_inputs(inputs, *dynamic_scale(inputs)) @ integers.T
    theirs = int8_product(inputs, *dynamic_scale(inputs), values.T.contiguous())
    assert torch.equal(ours, theirs.float())
