"""A cut layer fitted in closed form: by hand, and properties that hold for any layer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from compress.nn.ops.reconstruction import LeastSquares, elimination_errors

SIZES = {"inputs": st.integers(1, 6), "outputs": st.integers(1, 5), "seed": st.integers(0, 10**6)}


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fit(x: Tensor, missing: Tensor, ridge: float, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    equations = LeastSquares.empty(x.shape[1], missing.shape[1])
    equations.add(x, missing, torch.ones(len(x), dtype=torch.float64) if weights is None else weights)
    return equations.solve(ridge)


def error(x: Tensor, missing: Tensor, weight: Tensor, bias: Tensor, weights: Tensor) -> float:
    return float((weights * (x @ weight.T + bias - missing).pow(2).sum(dim=1)).sum())


def test_one_input_by_hand() -> None:
    # x = 1, -1; m = 3, 1: the line 1 x + 2 goes through both.
    x, missing = tensor([[1.0], [-1.0]]).double(), tensor([[3.0], [1.0]]).double()
    weight, bias = fit(x, missing, 1e-12)
    torch.testing.assert_close((weight, bias), (tensor([[1.0]]).double(), tensor([2.0]).double()))
    # The Gram matrix is 2 on the diagonal, and 0 beside it; the cross term is 2, 4. A ridge of 1 adds 2: both halve.
    weight, bias = fit(x, missing, 1.0)
    torch.testing.assert_close((weight, bias), (tensor([[0.5]]).double(), tensor([1.0]).double()))
    # x = 2, -2; m = 5, 1: the line x + 3. The diagonal is 8 and 2, of which a ridge of 1 adds the mean, 5; cross 8, 6.
    weight, bias = fit(tensor([[2.0], [-2.0]]).double(), tensor([[5.0], [1.0]]).double(), 1.0)
    torch.testing.assert_close((weight, bias), (tensor([[8 / 13]]).double(), tensor([6 / 7]).double()))


def test_a_layer_without_a_bias_is_fitted_without_one() -> None:
    # x = 1, 2; m = 1, 3: through both goes 2 x - 1; without the 1, the sum of x m is 7, of x x 5.
    equations = LeastSquares.empty(1, 1)
    equations.add(tensor([[1.0], [2.0]]).double(), tensor([[1.0], [3.0]]).double(), torch.ones(2).double())
    with_bias, alone = equations.solve(1e-12), equations.solve(1e-12, bias=False)
    torch.testing.assert_close(with_bias, (tensor([[2.0]]).double(), tensor([-1.0]).double()))
    torch.testing.assert_close(alone, (tensor([[1.4]]).double(), tensor([0.0]).double()))


def test_a_positions_weight_counts_like_so_many_positions() -> None:
    x, missing = draw(0, 5, 2), draw(1, 5, 3)
    weighted = fit(x, missing, 0.1, tensor([1.0, 2.0, 1.0, 1.0, 3.0]).double())
    chosen = [0, 1, 1, 2, 3, 4, 4, 4]
    torch.testing.assert_close(weighted, fit(x[chosen], missing[chosen], 0.1))


def test_batches_add_up() -> None:
    x, missing, ones = draw(0, 8, 2), draw(1, 8, 3), torch.ones(8, dtype=torch.float64)
    equations = LeastSquares.empty(2, 3)
    for part in (slice(0, 3), slice(3, 8)):
        equations.add(x[part], missing[part], ones[part])
    torch.testing.assert_close(equations.solve(0.01), fit(x, missing, 0.01))


@given(**SIZES, ridge=st.floats(1e-9, 10))
def test_where_nothing_was_cut_nothing_changes(inputs: int, outputs: int, seed: int, ridge: float) -> None:
    x = draw(seed, 20, inputs)
    weight, bias = fit(x, torch.zeros(20, outputs, dtype=torch.float64), ridge)
    assert not weight.any() and not bias.any()


@given(**SIZES)
def test_what_a_removed_duplicate_did_is_taken_over_exactly(inputs: int, outputs: int, seed: int) -> None:
    x, full, bias = draw(seed, 40, inputs), draw(seed + 1, outputs, inputs + 1), draw(seed + 2, outputs)
    doubled = torch.cat([x, x[:, :1]], dim=1)
    wanted = doubled @ full.T + bias
    left = full[:, :-1]
    change, bias_change = fit(x, wanted - (x @ left.T + bias), 1e-12)
    expected = left.clone()
    expected[:, 0] += full[:, -1]
    torch.testing.assert_close(left + change, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(bias + bias_change, bias, rtol=1e-6, atol=1e-6)


@settings(max_examples=200)
@given(**SIZES, positions=st.integers(1, 12), ridge=st.floats(1e-6, 100))
def test_never_worse_than_no_fit_on_the_same_positions(
    inputs: int, outputs: int, seed: int, positions: int, ridge: float
) -> None:
    x, missing = draw(seed, positions, inputs), draw(seed + 1, positions, outputs)
    weights = draw(seed + 2, positions).abs() + 0.1
    before = error(x, missing, torch.zeros(outputs, inputs).double(), torch.zeros(outputs).double(), weights)
    after = error(x, missing, *fit(x, missing, ridge, weights), weights)
    assert after <= before * (1 + 1e-9)


def test_no_position_changes_nothing() -> None:
    weight, bias = LeastSquares.empty(2, 3).solve(0.01)
    assert (weight.shape, bias.shape) == ((3, 2), (3,))
    assert not weight.any() and not bias.any()


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan")])
def test_a_ridge_is_needed(ridge: float) -> None:
    with pytest.raises(ValueError, match="is not greater than 0"):
        LeastSquares.empty(2, 3).solve(ridge)


def test_uncorrelated_inputs_by_hand() -> None:
    # Each costs its weight squared times its input's: 4, 9 * 2, 1 * 3; cheapest first, and the errors add up.
    weight = tensor([[2.0, 3.0, 1.0]])
    errors = elimination_errors(weight, torch.diag(tensor([1.0, 2.0, 3.0])), 1, 1e-12)
    torch.testing.assert_close(errors, tensor([7.0, 25.0, 3.0]).double())
    # As one group of two, and one that is alone: 4 + 18.
    gram = torch.diag(tensor([1.0, 2.0, 3.0, 1.0]))
    errors = elimination_errors(tensor([[2.0, 3.0, 1.0, 0.0]]), gram, 2, 1e-12)
    torch.testing.assert_close(errors, tensor([25.0, 3.0]).double())


def test_where_no_input_came_nothing_is_lost() -> None:
    errors = elimination_errors(tensor([[2.0, 3.0]]), torch.zeros(2, 2), 1, 0.01)
    torch.testing.assert_close(errors, torch.zeros(2).double())


def test_the_first_of_two_twins_is_cheap_and_the_second_is_not() -> None:
    x = draw(0, 50, 3)
    doubled = torch.cat([x, x[:, :1] + 1e-4 * draw(1, 50, 1)], dim=1)
    errors = elimination_errors(tensor([[5.0, 1.0, 1.0, 5.0]]), doubled.T @ doubled, 1, 1e-12)
    cheap, dear = sorted([float(errors[0]), float(errors[3])])
    assert cheap < 1e-4 < 1 < dear
    assert torch.equal(errors.argsort()[-1:] % 3, tensor([0]))


@given(seed=st.integers(0, 10**6), size=st.integers(1, 3))
def test_errors_are_those_of_the_best_fit(seed: int, size: int) -> None:
    x, weight = draw(seed, 60, 4 * size), draw(seed + 1, 3, 4 * size)
    errors = elimination_errors(weight, x.T @ x, size, 1e-12)
    order = errors.argsort()
    for count in range(1, 4):
        kept = torch.cat([torch.arange(size) + size * group for group in order[count:]])
        fitted = torch.linalg.lstsq(x[:, kept], x @ weight.T).solution
        best = (x[:, kept] @ fitted - x @ weight.T).pow(2).sum()
        torch.testing.assert_close(errors[order[count - 1]], best, rtol=1e-6, atol=1e-8)


def test_several_at_once_take_each_other_into_account() -> None:
    x, weight = draw(0, 60, 9), draw(1, 3, 9)
    one, four = (elimination_errors(weight, x.T @ x, 1, 1e-12, at_once) for at_once in (1, 4))
    torch.testing.assert_close(one, four)
    # Four pairs of twins: of each the cheap one goes first, though both look cheap before.
    doubled = torch.cat([x[:, :4], x[:, :4]], dim=1)
    errors = elimination_errors(torch.cat([weight[:, :4]] * 2, dim=1), doubled.T @ doubled, 1, 1e-9, 4)
    assert {int(column) % 4 for column in errors.argsort()[:4]} == {0, 1, 2, 3}
