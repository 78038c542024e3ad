"""Which examples stand together, and how long rows become."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.deploy.batching import batches_of, padded, padded_length


def test_those_of_like_length_stand_together_the_longest_first() -> None:
    assert batches_of([3, 9, 4, 9, 1], 2) == [[1, 3], [2, 0], [4]]
    assert batches_of([3, 9, 4], 1) == [[1], [2], [0]]
    assert batches_of([], 4) == []


@given(st.lists(st.integers(1, 50)), st.integers(1, 8))
def test_every_example_is_in_one_batch(lengths: list[int], size: int) -> None:
    batches = batches_of(lengths, size)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    assert all(len(batch) == size for batch in batches[:-1])
    # No batch holds a longer one than any of the batch before.
    assert all(
        min(lengths[place] for place in one) >= max(lengths[place] for place in other)
        for one, other in itertools.pairwise(batches)
    )


@pytest.mark.parametrize(("longest", "expected"), [(1, 8), (8, 8), (9, 16), (16, 16), (17, 32), (33, 50), (50, 50)])
def test_powers_end_at_the_longest_input(longest: int, expected: int) -> None:
    assert padded_length(longest, "powers", most=50) == expected
    assert padded_length(longest, "longest", most=50) == longest


def test_rows_are_filled_at_their_end() -> None:
    assert padded([[5, 6], [7]], 3, 9).tolist() == [[5, 6, 9], [7, 9, 9]]
