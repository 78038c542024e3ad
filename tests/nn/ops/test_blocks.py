"""Blocks of 32: numbers by hand, what holds for any weights, and errors fed into the columns to come."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from compress.nn.ops.blocks import (
    RANGES,
    block_count,
    block_scales,
    dequantize_blocks,
    pack_int4,
    quantize_blocks,
    quantize_blocks_corrected,
    unpack_int4,
)


def row(*values: float, length: int = 32) -> Tensor:
    """One row of these values and zeros behind them."""
    return torch.cat([tensor(values), torch.zeros(length - len(values))])[None]


def test_eight_bits_by_hand() -> None:
    values, scale = quantize_blocks(row(63.5, -1.25, 0.26, 0.24, -63.5), 8)
    assert (values.dtype, scale.dtype) == (torch.int8, torch.float16)
    assert scale.tolist() == [[0.5]]
    # -2.5 steps go to the even neighbour.
    assert values[0, :6].tolist() == [127, -2, 1, 0, -127, 0]


def test_four_bits_by_hand() -> None:
    # The largest is 4: -8 steps of -0.5, the side with one integer more. All the others lie on steps too.
    values, scale = quantize_blocks(row(4, 1, -0.5, -3.5, 0.2), 4)
    assert scale.tolist() == [[pytest.approx(-0.5, rel=1e-2)]]
    assert values[0, :6].tolist() == [-8, -2, 1, 7, 0, 0]
    exact = quantize_blocks(row(4, 1, -0.5, -3.5), 4)
    assert exact[1].tolist() == [[-0.5]]
    assert dequantize_blocks(*exact)[0, :5].tolist() == [4, 1, -0.5, -3.5, 0]


def test_four_bits_fit_the_many_and_not_the_largest_alone() -> None:
    # At 8 steps for the largest, -0.125, the ones lie at 8 of them, but the negative side ends at 7: -0.875. Fitted by
    # least squares to 31 sevens and one -8: (8 + 31 * 7) / (64 + 31 * 49) = 0.1421.
    weight = torch.full((1, 32), -1.0)
    weight[0, 0] = 1
    values, scale = quantize_blocks(weight, 4)
    assert values[0].tolist() == [-7, *[7] * 31]
    assert scale.item() == pytest.approx(-1 / 7, rel=1e-3)


def test_values_are_rounded_to_what_the_fp16_scale_can_express() -> None:
    # 1000 / 127 = 7.8740, of which FP16 keeps 7.875: 503.9 are 63.99 steps of it, 500 are 63.49.
    values, scale = quantize_blocks(row(1000, 500, 503.9), 8)
    assert scale.tolist() == [[7.875]]
    assert values[0, :3].tolist() == [127, 63, 64]


def test_each_block_has_its_own_scale_and_the_last_may_be_short() -> None:
    values, scale = quantize_blocks(torch.cat([row(127), row(12.7, 0.1)[:, :3]], dim=1), 8)
    assert (values.shape, scale.shape) == ((1, 35), (1, 2))
    assert values[0, 32:].tolist() == [127, 1, 0]
    assert [block_count(columns) for columns in (1, 32, 33, 64)] == [1, 1, 2, 2]


@pytest.mark.parametrize("bits", [8, 4])
def test_what_no_scale_can_express_is_zero(bits: int) -> None:
    for weight in (row(0), row(1e-9, -1e-9)):
        values, scale = quantize_blocks(weight, bits)
        assert scale.tolist() == [[0]]
        assert not values.any()
    # What is larger than the largest FP16 scale allows is cut off, and stays finite.
    assert torch.isfinite(dequantize_blocks(*quantize_blocks(row(1e30, -1), bits))).all()


def test_integers_are_symmetric_where_the_scale_is_too_small_for_its_block() -> None:
    # 177 / 127 of FP16's smallest number are rounded to one of it: 177 steps, of which 127 are left on both sides.
    values, scale = quantize_blocks(torch.cat([row(-177 * 2.0**-24), row(177 * 2.0**-24)]), 8)
    assert (values[:, 0].tolist(), scale.tolist()) == ([-127, 127], [[2.0**-24], [2.0**-24]])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 100), st.floats(-3, 3), st.integers(0, 10**6))
def test_eight_bits_are_off_by_half_a_step_at_most(rows: int, columns: int, power: float, seed: int) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns))).float() * 10**power
    values, scale = quantize_blocks(weight, 8)
    assert RANGES[8][0] <= int(values.min()) and int(values.max()) <= RANGES[8][1]
    step = scale.float().repeat_interleave(32, dim=1)[:, :columns]
    # An FP16 scale may be too small by a 2048th, or half of the smallest there is; the largest value meets it 127-fold.
    error = (dequantize_blocks(values, scale) - weight).abs()
    assert (error <= step * 0.5 + 127 * torch.clamp(step / 2048, min=2**-25)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.floats(-2, 3), st.integers(0, 10**6))
def test_four_bits_are_nearer_than_what_meets_the_largest(rows: int, blocks: int, power: float, seed: int) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, blocks * 32))).float() * 10**power
    values, scale = quantize_blocks(weight, 4)
    assert RANGES[4][0] <= int(values.min()) and int(values.max()) <= RANGES[4][1]
    # llama.cpp's own Q4_0: the largest value at -8 steps.
    each = weight.reshape(-1, 32)
    plain = each.gather(1, each.abs().argmax(dim=1, keepdim=True)) / -8
    rounded = torch.round(each / plain).clamp(-8, 7) * plain
    error = (dequantize_blocks(values, scale) - weight).reshape(-1, 32).square().sum(dim=1)
    assert (error <= (rounded - each).square().sum(dim=1) * 1.01).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 70), st.integers(0, 10**6))
def test_packing_loses_nothing(rows: int, columns: int, seed: int) -> None:
    values = torch.from_numpy(np.random.default_rng(seed).integers(-8, 8, (rows, columns))).to(torch.int8)
    packed = pack_int4(values)
    assert packed.shape == (-(-rows * columns // 2),)
    assert torch.equal(unpack_int4(packed, rows, columns), values)


def test_packed_by_hand() -> None:
    # The first is the lower half; -1 is 15, -8 is 8. The odd one has an empty upper half.
    assert pack_int4(tensor([[1, -1, 7], [-8, 0, 3], [2, 2, 5]])).tolist() == [0xF1, 0x87, 0x30, 0x22, 0x05]


def test_an_error_goes_into_the_column_that_sees_the_same_inputs() -> None:
    # The first two inputs are always the same: 0.4 + 3.3 of them are wanted. The third sets the scale, 1.
    inputs = torch.cat([torch.ones(8, 2), torch.zeros(8, 1)], dim=1)
    inputs[:4] *= -1
    inputs[:, 2] = tensor([1.0, -1, 1, -1, 1, -1, 1, -1])
    weight = tensor([[0.4, 3.3, 127.0]])
    assert quantize_blocks(weight, 8)[0].tolist() == [[0, 3, 127]]
    assert quantize_blocks_corrected(weight, inputs.T @ inputs, 8, 1e-6)[0].tolist() == [[0, 4, 127]]


def test_the_damping_is_a_share_of_the_mean_of_the_diagonal() -> None:
    # A quarter of (8 + 8 + 80) / 3 is 8: of an error in the first, the second makes 8 / (8 + 8) good. 3.35 + 0.4 / 2.
    gram = tensor([[8.0, 8.0, 0.0], [8.0, 8.0, 0.0], [0.0, 0.0, 80.0]])
    for second, found in ((3.35, 4), (3.25, 3)):
        assert quantize_blocks_corrected(tensor([[0.4, second, 127.0]]), gram, 8, 0.25)[0].tolist() == [[0, found, 127]]


def test_what_a_pruned_weight_would_make_good_has_no_part_in_its_blocks_scale() -> None:
    # Columns 0 and 32 always have the same input. The first is off by 0.4, which the pruned one may not take over.
    weight = torch.cat([row(0.4, 127), row(0, 0.127)], dim=1)
    gram = torch.eye(64)
    gram[0, 32] = gram[32, 0] = 1
    values, scale = quantize_blocks_corrected(weight, gram, 8, 1e-6)
    assert scale[0, 0] == 1 and scale[0, 1].item() == pytest.approx(0.001, rel=1e-3)
    assert (values[0, :2].tolist(), values[0, 32:34].tolist()) == ([0, 127], [0, 127])


def test_an_error_goes_into_the_blocks_to_come_too() -> None:
    # As above, and not pruned: 3.3 + 0.4, in steps of 1.
    weight = torch.cat([row(0.4, 127), row(3.3, 127)], dim=1)
    gram = torch.eye(64)
    gram[0, 32] = gram[32, 0] = 1
    assert quantize_blocks(weight, 8)[0][0, [0, 32]].tolist() == [0, 3]
    assert quantize_blocks_corrected(weight, gram, 8, 1e-6)[0][0, [0, 32]].tolist() == [0, 4]


def test_inputs_that_never_meet_correct_nothing() -> None:
    weight = torch.randn(6, 70, generator=torch.Generator().manual_seed(0))
    for gram in (torch.diag(torch.arange(70.0)), torch.zeros(70, 70)):
        found, expected = quantize_blocks_corrected(weight, gram, 4, 0.01), quantize_blocks(weight, 4)
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


@pytest.mark.parametrize("bits", [8, 4])
def test_corrected_is_nearer_in_the_outputs(bits: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(500, 12, generator=generator) @ torch.randn(12, 80, generator=generator)
    inputs = inputs + 0.1 * torch.randn(500, 80, generator=generator)
    weight = torch.randn(16, 80, generator=generator)
    weight[:, 60:] = 0

    def error(values: Tensor, scale: Tensor) -> float:
        return float((inputs @ (dequantize_blocks(values, scale) - weight).T).square().sum())

    corrected = quantize_blocks_corrected(weight, inputs.T @ inputs, bits, 0.01)
    assert error(*corrected) < 0.5 * error(*quantize_blocks(weight, bits))
    # A weight that was pruned stays so.
    assert not corrected[0][:, 60:].any()


def test_damping_must_be_positive() -> None:
    with pytest.raises(ValueError, match="damping 0"):
        quantize_blocks_corrected(torch.ones(1, 2), torch.eye(2), 8, 0)


def test_the_scale_of_a_block_is_its_own() -> None:
    assert block_scales(torch.cat([row(127), row(-254)], dim=1), 8).tolist() == [[1, 2]]
    found = block_scales(torch.cat([row(8, 1), row(-16, 2)], dim=1), 4)
    assert found.tolist() == [[-1, 2]]
