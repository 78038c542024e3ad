"""Factors by hand, and what they do to a product."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor

from compress.nn.ops.smoothing import smoothing_factors


@pytest.mark.parametrize(
    ("strength", "factors"),
    [
        (0.5, [2.0, 0.5, 1.5]),  # sqrt(4 / 1), sqrt(1 / 4), sqrt(9 / 4)
        (1.0, [4.0, 1.0, 9.0]),  # the inputs' own ranges
        (0.25, [2**0.5, 2**-1.5, 3**0.5 / 2**1.5]),  # 4^(1/4), 1 / 4^(3/4), 9^(1/4) / 4^(3/4)
    ],
)
def test_by_hand(strength: float, factors: list[float]) -> None:
    found = smoothing_factors(tensor([4.0, 1.0, 9.0]), tensor([1.0, 4.0, 4.0]), strength)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(factors)


def test_at_one_a_factor_is_the_range_of_its_channel_to_the_last_bit() -> None:
    # The logarithm of 2^100, in float32, would be off by up to 4e-6.
    ranges = [2.0**100, 2.0**-100, 3.0 * 2.0**90]
    assert smoothing_factors(tensor(ranges), tensor([1.0, 5.0, 7.0]), 1.0).tolist() == ranges


def test_what_is_never_used_or_never_read_stays() -> None:
    assert smoothing_factors(tensor([0.0, 3.0, 0.0]), tensor([2.0, 0.0, 0.0]), 0.5).tolist() == [1.0, 1.0, 1.0]


positive = st.floats(2.0**-100, 2.0**100, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=6))
def test_at_a_half_both_sides_end_with_the_same_range(ranges: list[tuple[float, float]]) -> None:
    inputs, weights = (tensor(side) for side in zip(*ranges, strict=True))
    factors = smoothing_factors(inputs, weights, 0.5)
    assert bool(((factors > 0) & factors.isfinite()).all())
    torch.testing.assert_close(inputs / factors, weights * factors, rtol=1e-4, atol=0)
    # Which is the geometric mean of the two before.
    expected = (inputs.double() * weights.double()).sqrt().float()
    torch.testing.assert_close(inputs / factors, expected, rtol=1e-4, atol=0)
