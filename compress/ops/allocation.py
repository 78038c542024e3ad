"""Choosing one option for each layer, so that most value is kept within a budget: exact dynamic programming."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LARGEST_FRONT = 4000


def allocate(costs: Sequence[np.ndarray], values: Sequence[np.ndarray], budget: float) -> list[int]:
    """For each layer the number of its option, with the largest sum of values whose sum of costs fits the budget.

    costs, values: for each layer one array over its options. Layer by layer the combinations are kept that no other
    beats in both cost and value, so the result is exact as long as no more than LARGEST_FRONT of them are alive; above
    that they are thinned evenly by cost, and the loss is at most what a thinned step holds. The multiple-choice
    knapsack problem: Kellerer, Pferschy and Pisinger 2004, chapter 11.
    Raises ValueError where even the cheapest options together exceed the budget.
    """
    cheapest = [float(cost.min()) for cost in costs]
    if sum(cheapest) > budget:
        raise ValueError(f"the cheapest options cost {sum(cheapest)}, the budget is {budget}")
    spent, gained = np.zeros(1), np.zeros(1)
    history: list[tuple[np.ndarray, np.ndarray]] = []
    for layer, (cost, value) in enumerate(zip(costs, values, strict=True)):
        total_cost = (spent[:, None] + cost[None, :]).ravel()
        total_value = (gained[:, None] + value[None, :]).ravel()
        # What is left of the budget must still pay for the layers to come.
        fitting = np.flatnonzero(total_cost + sum(cheapest[layer + 1 :]) <= budget * (1 + 1e-12))
        kept = fitting[_front(total_cost[fitting], total_value[fitting])]
        if len(kept) > LARGEST_FRONT:
            kept = kept[np.unique(np.linspace(0, len(kept) - 1, LARGEST_FRONT).round().astype(int))]
        history.append((kept // len(cost), kept % len(cost)))
        spent, gained = total_cost[kept], total_value[kept]
    state = int(np.argmax(gained))
    chosen = []
    for before, option in reversed(history):
        chosen.append(int(option[state]))
        state = int(before[state])
    return chosen[::-1]


def _front(costs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Indices, by rising cost, of the points that no cheaper or equally cheap point reaches in value."""
    order = np.lexsort((-values, costs))
    best = np.maximum.accumulate(values[order])
    better = np.concatenate([[True], best[1:] > best[:-1]])
    return order[better]
