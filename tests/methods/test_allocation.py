"""The best choice within a budget, against every choice there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.methods.allocation import allocate, least_cost


def test_by_hand() -> None:
    costs = [np.array([0.0, 2.0, 3.0]), np.array([1.0, 4.0])]
    values = [np.array([0.0, 5.0, 6.0]), np.array([1.0, 5.5])]
    # 3 + 1 keeps 7; 0 + 4 keeps 5.5; 2 + 4 would keep 10.5 and costs 6.
    assert allocate(costs, values, 4.0) == [2, 0]
    assert allocate(costs, values, 6.0) == [1, 1]
    assert allocate(costs, values, 1.0) == [0, 0]


def test_a_budget_below_the_cheapest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cost 3\.0, the budget is 2\.5"):
        allocate([np.array([1.0, 5.0]), np.array([2.0])], [np.zeros(2), np.zeros(1)], 2.5)


layer = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=5)


@given(st.lists(layer, min_size=1, max_size=4), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_no_other_choice_is_better(layers: list[list[tuple[int, int]]], budget: int) -> None:
    costs = [np.array([cost for cost, _ in options], dtype=float) for options in layers]
    values = [np.array([value for _, value in options], dtype=float) for options in layers]
    choices = itertools.product(*(range(len(options)) for options in layers))
    fitting = [c for c in choices if sum(cost[i] for cost, i in zip(costs, c, strict=True)) <= budget]
    if not fitting:
        with pytest.raises(ValueError, match="the budget is"):
            allocate(costs, values, budget)
        return
    best = max(sum(value[i] for value, i in zip(values, c, strict=True)) for c in fitting)
    chosen = allocate(costs, values, budget)
    assert sum(cost[i] for cost, i in zip(costs, chosen, strict=True)) <= budget + 1e-9
    assert sum(value[i] for value, i in zip(values, chosen, strict=True)) == best


@given(st.lists(layer, min_size=1, max_size=4), st.integers(0, 70))
@settings(max_examples=200, deadline=None)
def test_no_other_choice_is_cheaper(layers: list[list[tuple[int, int]]], wanted: int) -> None:
    costs = [np.array([cost for cost, _ in options], dtype=float) for options in layers]
    values = [np.array([value for _, value in options], dtype=float) for options in layers]
    choices = itertools.product(*(range(len(options)) for options in layers))
    enough = [c for c in choices if sum(value[i] for value, i in zip(values, c, strict=True)) >= wanted]
    if not enough:
        with pytest.raises(ValueError, match=f"wanted are {wanted}"):
            least_cost(costs, values, wanted)
        return
    best = min(sum(cost[i] for cost, i in zip(costs, c, strict=True)) for c in enough)
    chosen = least_cost(costs, values, wanted)
    assert sum(value[i] for value, i in zip(values, chosen, strict=True)) >= wanted
    assert sum(cost[i] for cost, i in zip(costs, chosen, strict=True)) == best
