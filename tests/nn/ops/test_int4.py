"""INT4 rows by hand, and for any values."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from compress.nn.ops.int4 import SHARES, pack, quantize_rows_to_int4, unpack


def error(weight: Tensor, values: Tensor, scale: Tensor) -> Tensor:
    return (values * scale[:, None] - weight).square().sum(dim=1)


def test_a_row_on_the_grid_keeps_its_values() -> None:
    values, scale = quantize_rows_to_int4(tensor([[7.0, -3.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [-0.7, 0.2, 0.1, 0.0]]))
    assert values.tolist() == [[7, -3, 1, 0], [0, 0, 0, 0], [-7, 2, 1, 0]]
    torch.testing.assert_close(scale, tensor([1.0, 1.0, 0.1]))


def test_a_largest_value_is_cut_off_where_the_others_gain() -> None:
    # A step of 8 / 7 is off by 0.5 for each of the 2,000. Half of it, 4 / 7, by 1 / 14, and by 4 for the 8.
    row = tensor([[8.0] + [0.5] * 2000])
    values, scale = quantize_rows_to_int4(row)
    assert values.tolist() == [[7] + [1] * 2000]
    torch.testing.assert_close(scale, tensor([4 / 7]))
    torch.testing.assert_close(error(row, values, scale), tensor([16 + 2000 / 14**2]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=6, max_size=6), min_size=1, max_size=4))
def test_no_other_share_of_the_largest_value_is_nearer(rows: list[list[float]]) -> None:
    weight = tensor(rows)
    values, scale = quantize_rows_to_int4(weight)
    assert values.abs().max() <= 7
    found = error(weight.double(), values.double(), scale.double())
    for share in SHARES:
        other = weight.double().abs().amax(dim=1).clamp(min=1e-300) * share / 7
        rounded = torch.round(weight.double() / other[:, None]).clamp(-7, 7)
        size = weight.double().square().sum(dim=1)
        # The step is a float32.
        assert bool((found <= error(weight.double(), rounded, other) * 1.001 + size * 1e-9).all())


def test_two_values_in_a_byte() -> None:
    # 7 + 16 x 0, -7 + 16 x 1, and the largest: 7 + 16 x 7.
    assert pack(tensor([[7, -7, 7, 0, 1, 7]])).tolist() == [[7, 9, 119]]
    # Of an odd number, the middle one has a byte of its own.
    assert pack(tensor([[7, -7, -1]])).tolist() == [[7 - 16, -7]]


@pytest.mark.parametrize("columns", [1, 2, 7, 8])
def test_unpacked_again(columns: int) -> None:
    values = torch.randint(-7, 8, (5, columns), generator=torch.Generator().manual_seed(0))
    assert torch.equal(unpack(pack(values).float(), columns), values.float())
    # As looked up: a batch of rows.
    assert unpack(pack(values).float()[tensor([[0, 4], [1, 1]])], columns).shape == (2, 2, columns)


def test_every_byte_is_taken_apart() -> None:
    both = torch.cartesian_prod(torch.arange(-7, 8), torch.arange(-7, 8))
    assert torch.equal(unpack(pack(both).float(), 2), both.float())
