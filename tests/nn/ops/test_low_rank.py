"""Two-by-two cases by hand; the theorem that the whole method rests on by many random ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from compress.nn.ops.low_rank import break_even_rank, rank_for_energy, rows_decomposition, whitened_decomposition

DOUBLE = torch.float64


def test_with_equal_inputs_the_largest_singular_value_stays() -> None:
    found = whitened_decomposition(tensor([[3.0, 0.0], [0.0, 1.0]]), torch.eye(2))
    torch.testing.assert_close(found.singular, tensor([3.0, 1.0], dtype=DOUBLE))
    up, down = found.factors(1)
    torch.testing.assert_close(up @ down, tensor([[3.0, 0.0], [0.0, 0.0]], dtype=DOUBLE))


def test_inputs_decide_what_stays() -> None:
    # The second input is ten times as large: root = diag(1, 10), weight @ root = diag(3, 10).
    found = whitened_decomposition(tensor([[3.0, 0.0], [0.0, 1.0]]), tensor([[1.0, 0.0], [0.0, 100.0]]))
    torch.testing.assert_close(found.singular, tensor([10.0, 3.0], dtype=DOUBLE))
    up, down = found.factors(1)
    torch.testing.assert_close(up @ down, tensor([[0.0, 0.0], [0.0, 1.0]], dtype=DOUBLE))
    # The singular value is shared: sqrt(10) upwards, sqrt(10) / 10 downwards.
    torch.testing.assert_close(up.abs(), tensor([[0.0], [10**0.5]], dtype=DOUBLE))
    torch.testing.assert_close(down.abs(), tensor([[0.0, 0.1 * 10**0.5]], dtype=DOUBLE))


def test_a_direction_that_no_input_uses_costs_nothing() -> None:
    # All inputs are multiples of (1, 0).
    found = whitened_decomposition(tensor([[1.0, 50.0], [2.0, 70.0]]), tensor([[4.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(found.singular, tensor([20**0.5, 0.0], dtype=DOUBLE))
    up, down = found.factors(1)
    torch.testing.assert_close(up @ down, tensor([[1.0, 0.0], [2.0, 0.0]], dtype=DOUBLE))


def test_a_direction_that_hardly_any_input_uses_is_noise() -> None:
    # A ten-billionth of the largest is where that ends: such a direction's weights are left out at any rank.
    weight = tensor([[1.0, 50.0], [2.0, 70.0]])
    for smallest, kept in ((1e-9, weight.double()), (1e-11, tensor([[1.0, 0.0], [2.0, 0.0]], dtype=DOUBLE))):
        up, down = whitened_decomposition(weight, torch.diag(tensor([1.0, smallest], dtype=DOUBLE))).factors(2)
        torch.testing.assert_close(up @ down, kept)


def test_inputs_that_are_all_zero() -> None:
    found = whitened_decomposition(tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2))
    up, down = found.factors(1)
    assert torch.isfinite(up).all() and torch.isfinite(down).all()
    assert rank_for_energy(found.singular, 0.9) == 1


@pytest.mark.parametrize("rank", [0, 3, -1])
def test_ranks_that_do_not_exist(rank: int) -> None:
    with pytest.raises(ValueError, match=rf"rank {rank} lies outside 1\.\.2"):
        whitened_decomposition(torch.eye(2), torch.eye(2)).factors(rank)


def random_case(seed: int, outputs: int, inputs: int, seen: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator, dtype=DOUBLE)
    scales = torch.logspace(-2, 1, inputs, dtype=DOUBLE)[:, None]
    return weight, scales * torch.randn(inputs, seen, generator=generator, dtype=DOUBLE)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.data())
def test_the_error_is_what_was_dropped_and_never_above_a_plain_svd(
    seed: int, outputs: int, inputs: int, seen: int, data: st.DataObject
) -> None:
    weight, examples = random_case(seed, outputs, inputs, seen)
    found = whitened_decomposition(weight, examples @ examples.T)
    rank = data.draw(st.integers(1, min(outputs, inputs)))
    up, down = found.factors(rank)
    assert up.shape == (outputs, rank)
    assert down.shape == (rank, inputs)
    error = float(((weight - up @ down) @ examples).pow(2).sum())
    size = float((weight @ examples).pow(2).sum())
    # Directions below 1e-10 of the largest are left out, and cost that much at most.
    assert error == pytest.approx(float(found.singular[rank:].pow(2).sum()), rel=1e-6, abs=1e-8 * size)
    left, singular, right = torch.linalg.svd(weight, full_matrices=False)
    plain = (left[:, :rank] * singular[:rank]) @ right[:rank]
    assert error <= float(((weight - plain) @ examples).pow(2).sum()) + 1e-8 * size


def test_with_equal_weights_the_longest_row_stays() -> None:
    found = rows_decomposition(tensor([[3.0, 0.0], [0.0, 1.0]]), torch.ones(2))
    torch.testing.assert_close(found.singular, tensor([3.0, 1.0], dtype=DOUBLE))
    table, up = found.factors(1)
    # The product only says where the direction lies; the length is in the table.
    torch.testing.assert_close(up.abs(), tensor([[1.0], [0.0]], dtype=DOUBLE))
    torch.testing.assert_close(table.abs(), tensor([[3.0], [0.0]], dtype=DOUBLE))


def test_a_row_that_is_read_often_stays() -> None:
    # Rows scaled by the roots of 1, 16 and 0: (3, 0), (0, 4), nothing. The third is seen as far as (0, 1) shows it.
    found = rows_decomposition(tensor([[3.0, 0.0], [0.0, 1.0], [5.0, 2.0]]), tensor([1.0, 16.0, 0.0]))
    torch.testing.assert_close(found.singular, tensor([4.0, 3.0], dtype=DOUBLE))
    table, up = found.factors(1)
    torch.testing.assert_close(table @ up.T, tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]], dtype=DOUBLE))


@pytest.mark.parametrize("rank", [0, 3, -1])
def test_ranks_that_rows_do_not_have(rank: int) -> None:
    with pytest.raises(ValueError, match=rf"rank {rank} lies outside 1\.\.2"):
        rows_decomposition(torch.ones(5, 2), torch.ones(5)).factors(rank)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), rows=st.integers(1, 12), width=st.integers(1, 8), equal=st.booleans(), data=st.data()
)
def test_no_other_rows_of_that_rank_are_nearer(
    seed: int, rows: int, width: int, equal: bool, data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, width, generator=generator, dtype=DOUBLE)
    weights = torch.ones(rows, dtype=DOUBLE) if equal else torch.rand(rows, generator=generator, dtype=DOUBLE).exp()
    rank = data.draw(st.integers(1, width))
    found = rows_decomposition(table, weights)
    narrow, up = found.factors(rank)
    assert narrow.shape == (rows, rank) and up.shape == (width, rank)

    def error_of(candidate: Tensor) -> float:
        return float((weights[:, None] * (table - candidate).pow(2)).sum())

    size = error_of(torch.zeros_like(table))
    error = error_of(narrow @ up.T)
    assert error == pytest.approx(float(found.singular[rank:].pow(2).sum()), rel=1e-6, abs=1e-8 * size)
    left, singular, right = torch.linalg.svd(table, full_matrices=False)
    plain = (left[:, :rank] * singular[:rank]) @ right[:rank]
    if equal:
        assert error == pytest.approx(error_of(plain), rel=1e-6, abs=1e-8 * size)
    assert error <= error_of(plain) + 1e-8 * size
    torch.testing.assert_close(up.T @ up, torch.eye(rank, dtype=DOUBLE))


@pytest.mark.parametrize(
    ("singular", "kept_energy", "rank"),
    [
        # Squares 9, 4, 1 of 14: shares 0.643, 0.929, 1.
        ([3.0, 2.0, 1.0], 0.64, 1),
        ([3.0, 2.0, 1.0], 0.65, 2),
        ([3.0, 2.0, 1.0], 0.92, 2),
        ([3.0, 2.0, 1.0], 0.93, 3),
        ([3.0, 2.0, 1.0], 1.0, 3),
        ([3.0, 0.0, 0.0], 1.0, 1),
        ([0.0, 0.0], 1.0, 1),
    ],
)
def test_rank_for_energy(singular: list[float], kept_energy: float, rank: int) -> None:
    assert rank_for_energy(tensor(singular), kept_energy) == rank


@pytest.mark.parametrize(("outputs", "inputs", "rank"), [(4, 4, 2), (3072, 768, 614), (5, 4, 2), (1, 9, 0)])
def test_break_even(outputs: int, inputs: int, rank: int) -> None:
    assert break_even_rank(outputs, inputs) == rank
    assert rank * (outputs + inputs) <= outputs * inputs < (rank + 1) * (outputs + inputs)
