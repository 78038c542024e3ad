"""Choosing one option for each layer, so that most value is kept within a budget: exact dynamic programming."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LARGEST_FRONT = 4000

# For each layer: which combination of the layers before it, and which of its options, each combination alive adds up.
History = list[tuple[np.ndarray, np.ndarray]]


def allocate(costs: Sequence[np.ndarray], values: Sequence[np.ndarray], budget: float) -> list[int]:
    """For each layer the number of its option, with the largest sum of values whose sum of costs fits the budget.

    costs, values: for each layer one array over its options. Layer by layer the combinations are kept that no other
    beats in both cost and value, so the result is exact as long as no more than LARGEST_FRONT of them are alive; above
    that they are thinned evenly by cost, and the loss is at most what a thinned step holds. The multiple-choice
    knapsack problem: Kellerer, Pferschy and Pisinger 2004, chapter 11.
    Raises ValueError where even the cheapest options together exceed the budget.
    """
    cheapest = sum(float(cost.min()) for cost in costs)
    if cheapest > budget:
        raise ValueError(f"the cheapest options cost {cheapest}, the budget is {budget}")
    _, gained, history = _combinations(costs, values, budget)
    return _chosen(history, int(np.argmax(gained)))


def least_cost(costs: Sequence[np.ndarray], values: Sequence[np.ndarray], wanted: float) -> list[int]:
    """For each layer the number of its option, with the smallest sum of costs whose values sum up to `wanted`.

    As exact as `allocate`. Raises ValueError where even the most valuable options have less.
    """
    _, gained, history = _combinations(costs, values, np.inf)
    # A hair of slack for rounding. Costs and values rise together along what is alive.
    enough = np.flatnonzero(gained >= wanted - abs(wanted) * 1e-9)
    if not len(enough):
        raise ValueError(f"the most valuable options have {gained.max()}, wanted are {wanted}")
    return _chosen(history, int(enough[0]))


def _combinations(
    costs: Sequence[np.ndarray], values: Sequence[np.ndarray], budget: float
) -> tuple[np.ndarray, np.ndarray, History]:
    """Costs and values of all combinations within the budget that no other beats, by rising cost, and how they came."""
    cheapest = [float(cost.min()) for cost in costs]
    spent, gained = np.zeros(1), np.zeros(1)
    history: History = []
    for layer, (cost, value) in enumerate(zip(costs, values, strict=True)):
        worthwhile = front(cost, value)
        total_cost = (spent[:, None] + cost[None, worthwhile]).ravel()
        total_value = (gained[:, None] + value[None, worthwhile]).ravel()
        # What is left of the budget must still pay for the layers to come.
        fitting = np.flatnonzero(total_cost + sum(cheapest[layer + 1 :]) <= budget * (1 + 1e-12))
        kept = fitting[front(total_cost[fitting], total_value[fitting])]
        if len(kept) > LARGEST_FRONT:
            kept = kept[np.unique(np.linspace(0, len(kept) - 1, LARGEST_FRONT).round().astype(int))]
        history.append((kept // len(worthwhile), worthwhile[kept % len(worthwhile)]))
        spent, gained = total_cost[kept], total_value[kept]
    return spent, gained, history


def _chosen(history: History, state: int) -> list[int]:
    chosen = []
    for before, option in reversed(history):
        chosen.append(int(option[state]))
        state = int(before[state])
    return chosen[::-1]


def front(costs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Indices, by rising cost, of the points that no cheaper or equally cheap point reaches in value."""
    order = np.lexsort((-values, costs))
    best = np.maximum.accumulate(values[order])
    better = np.concatenate([[True], best[1:] > best[:-1]])
    return order[better]
