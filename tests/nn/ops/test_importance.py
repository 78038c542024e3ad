"""Norms and sums small enough to work out by hand."""

from __future__ import annotations

import torch
from torch import tensor

from compress.nn.ops.importance import (
    column_contribution,
    component_gradient,
    head_magnitude,
    mask_gradient,
    neuron_magnitude,
    per_head,
    total_magnitude,
)


def test_heads_own_rows_of_query_key_value_and_columns_of_the_output() -> None:
    # Two heads of width 2, hidden width 1.
    query = tensor([[1.0], [0.0], [0.0], [0.0]])
    key = tensor([[2.0], [0.0], [0.0], [0.0]])
    value = tensor([[0.0], [-2.0], [3.0], [0.0]])
    output = tensor([[0.0, 4.0, 0.0, -4.0]])
    # 1 + 4 + 4 + 16 = 25 and 9 + 16 = 25.
    assert head_magnitude([query, key, value], output, 2).tolist() == [5.0, 5.0]
    # As four heads of width 1: 1 + 4; 4 + 16; 9; 16.
    squares = head_magnitude([query, key, value], output, 4).pow(2)
    torch.testing.assert_close(squares, tensor([5.0, 20.0, 9.0, 16.0], dtype=torch.float64))


def test_a_neuron_matters_as_much_as_what_it_reads_times_what_it_writes() -> None:
    inner = tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    outer = tensor([[0.0, 9.0, 0.0], [2.0, 9.0, -6.0]])
    assert neuron_magnitude([inner], outer).tolist() == [10.0, 0.0, 6.0]
    # Of two matrices, a gate and what it opens: sqrt(9 + 16 + 144) = 13 times 2; the second reads 8, writes sqrt(162).
    gate = tensor([[12.0, 0.0], [0.0, 8.0], [0.0, 0.0]])
    torch.testing.assert_close(
        neuron_magnitude([inner, gate], outer), tensor([26.0, 8 * 162**0.5, 6.0], dtype=torch.float64)
    )


def test_total() -> None:
    assert total_magnitude([tensor([[3.0]]), tensor([[0.0, -4.0]])]) == 5.0


def test_what_a_column_adds_is_its_length_times_its_input() -> None:
    weight = tensor([[3.0, 1.0], [4.0, 0.0]])
    assert column_contribution(weight, tensor([4.0, 9.0])).tolist() == [10.0, 3.0]


def test_a_masks_derivative_is_summed_over_positions() -> None:
    inputs = tensor([[[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]])
    gradient = tensor([[[1.0, 0.5], [2.0, -1.0]], [[5.0, 7.0], [7.0, -2.0]]])
    # 1 + 6, 1 - 4; 5, -2.
    assert mask_gradient(inputs, gradient).tolist() == [[7.0, -3.0], [5.0, -2.0]]
    # 4097² = 2^24 + 8193 is odd: float32 has no such number.
    assert mask_gradient(tensor([[[4097.0]]]), tensor([[[4097.0]]])).tolist() == [[16785409.0]]


def test_a_components_derivative_is_what_it_reads_times_what_it_writes() -> None:
    up, down = tensor([[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]]), tensor([[1.0, 0.0], [1.0, 1.0]])
    inputs = tensor([[[1.0, 2.0], [3.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    gradient = tensor([[[1.0, 1.0, 0.0], [0.0, 1.0, 2.0]], [[1.0, 0.0, 5.0], [9.0, 9.0, 9.0]]])
    # Read are (1, 3), (3, 3) and (0, 1), (0, 0); the gradient along what is written is (3, 1), (2, -1) and (1, -5),
    # (27, 0). So 1 x 3 + 3 x 2 and 3 x 1 - 3 x 1; 0 and 1 x -5.
    assert component_gradient(inputs, gradient, up, down).tolist() == [[9.0, 0.0], [0.0, -5.0]]


def test_it_is_the_derivative_by_an_explicit_mask() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, gradient = (torch.randn(2, 5, width, generator=generator) for width in (4, 3))
    up, down = (torch.randn(*shape, generator=generator) for shape in ((3, 3), (3, 4)))
    mask = torch.ones(2, 3, requires_grad=True)
    outputs = (inputs @ down.T * mask[:, None]) @ up.T
    (expected,) = torch.autograd.grad((outputs * gradient).sum(), mask)
    torch.testing.assert_close(component_gradient(inputs, gradient, up, down), expected.double(), rtol=1e-5, atol=1e-5)


def test_heads_are_sums_of_their_columns() -> None:
    assert per_head(tensor([[1.0, 2.0, 3.0, 4.0]]), 2).tolist() == [[3.0, 7.0]]
    assert per_head(tensor([1.0, 2.0, 3.0, 4.0]), 1).tolist() == [1.0, 2.0, 3.0, 4.0]
