"""Literal masks."""

from __future__ import annotations

import pytest
from torch import tensor

from compress.nn.ops.masks import count_kept, keep_mask, keep_masks_globally, n_of_m_mask, strongest


@pytest.mark.parametrize(
    ("total", "share", "multiple", "kept"),
    [
        (4, 0.5, 1, 2),
        (12, 0.1, 1, 1),
        (12, 0.01, 1, 1),  # never none
        (12, 1.0, 1, 12),
        (64, 0.5, 16, 32),
        (64, 0.6, 16, 32),  # 38.4 is nearer to 32 than to 48
        (64, 0.65, 16, 48),
        (64, 0.01, 16, 16),
        (8, 0.5, 16, 8),  # fewer than one block: all of them
        (40, 1.0, 16, 40),  # never more than there are
    ],
)
def test_count_kept(total: int, share: float, multiple: int, kept: int) -> None:
    assert count_kept(total, share, multiple) == kept


def test_strongest_in_ascending_order_and_the_earlier_of_equals() -> None:
    assert strongest(tensor([3.0, 1.0, 4.0, 5.0]), 3).tolist() == [0, 2, 3]
    assert strongest(tensor([2.0, 1.0, 2.0, 2.0]), 2).tolist() == [0, 2]


def test_keep_mask() -> None:
    assert keep_mask(tensor([1.0, -3.0, 2.0, 0.0]), 0.5).tolist() == [False, True, True, False]
    assert keep_mask(tensor([[1.0, -3.0], [2.0, 0.0]]), 0.25).tolist() == [[False, True], [False, False]]


def test_keep_mask_with_ties_keeps_exactly_the_share() -> None:
    assert keep_mask(tensor([2.0, -2.0, 2.0, -2.0]), 0.5).tolist() == [True, True, False, False]


def test_one_threshold_for_all_tensors() -> None:
    small, large = tensor([[0.1, 0.2], [0.3, 0.4]]), tensor([[-5.0, 6.0]])
    masks = keep_masks_globally([small, large], 0.5)
    assert [mask.tolist() for mask in masks] == [[[False, False], [False, True]], [[True, True]]]


def test_n_of_m_along_the_inputs() -> None:
    weight = tensor([[4.0, -3.0, 2.0, 1.0, 0.0, 0.0, 5.0, -6.0], [1.0, 1.0, 1.0, 1.0, -1.0, 2.0, 0.0, 0.5]])
    assert n_of_m_mask(weight, 2, 4).int().tolist() == [[1, 1, 0, 0, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1, 0, 0]]
    assert n_of_m_mask(weight, 1, 2).int().tolist() == [[1, 0, 1, 0, 1, 0, 0, 1], [1, 0, 1, 0, 0, 1, 0, 1]]


def test_n_of_m_needs_whole_groups() -> None:
    with pytest.raises(ValueError, match=r"6 is not a multiple of 4"):
        n_of_m_mask(tensor([[1.0] * 6]), 2, 4)
