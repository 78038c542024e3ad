"""Layers of one size, against every such choice there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.core.context import LayerImportance
from compress.core.latency_table import LatencyTable
from compress.methods.layer_sizes import Sizes
from compress.methods.uniform_sizes import UniformChoices

# What is there costs more than nothing, and not less where there is more of it.
curve = st.lists(st.integers(0, 9), min_size=3, max_size=3).map(lambda costs: dict(enumerate(sorted(costs))))
tables = st.one_of(
    st.builds(LatencyTable, st.just(100.0), st.just(5.0), curve, curve, curve, curve),
    st.builds(LatencyTable, st.just(100.0), st.just(5.0), curve, curve, st.just({}), st.just({})),
)
parts = st.lists(st.integers(0, 9), min_size=1, max_size=2)
layers = st.lists(st.tuples(parts, parts), min_size=1, max_size=4)
switches = st.tuples(st.booleans(), st.booleans())


def choices_of(
    given: list[tuple[list[int], list[int]]], table: LatencyTable, *, whole_heads: bool = False, first: bool = False
) -> UniformChoices:
    found = [LayerImportance(*(torch.tensor(part, dtype=torch.float64) for part in layer), 0.0) for layer in given]
    return UniformChoices(
        found=found, table=table, blocks=False, neuron_multiple=1, keeps_first=first, whole_heads=whole_heads
    )


def every(choices: UniformChoices) -> Iterator[tuple[list[Sizes], float, float]]:
    """All sizes, their costs and values: each layer goes or has one size; the last stays, and perhaps the first."""
    found, last = choices.found, len(choices.found) - 1
    most = max(len(layer.heads) for layer in found)
    for size in itertools.product([most] if choices.whole_heads else range(1, most + 1), (1, 2)):
        options = []
        for number, layer in enumerate(found):
            fits = len(layer.heads) >= size[0] and len(layer.neurons) >= size[1]
            stays = number == last or (number == 0 and choices.keeps_first)
            options.append(([size] if fits else []) + ([] if stays else [(0, 0)]))
        for sizes in itertools.product(*options):
            value = sum(
                float(part.sort(descending=True).values[:count].sum())
                for layer, each in zip(found, sizes, strict=True)
                for part, count in zip((layer.heads, layer.neurons), each, strict=True)
            )
            yield list(sizes), choices.table.predict(sizes) - choices.table.fixed, value


@given(layers, tables, switches, st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_nothing_of_one_size_in_the_budget_keeps_more(
    given: list, table: LatencyTable, switches: tuple[bool, bool], budget: int
) -> None:
    choices = choices_of(given, table, whole_heads=switches[0], first=switches[1])
    possible = list(every(choices))
    if not possible:
        return
    assert choices.least == min(cost for _, cost, _ in possible)
    fitting = [(value, -cost) for _, cost, value in possible if cost <= budget]
    if not fitting:
        with pytest.raises(ValueError, match="the budget is"):
            choices.within(budget)
        return
    choice = choices.within(budget)
    assert (choice.value, -choice.cost) == max(fitting)
    assert (choice.sizes, choice.cost, choice.value) in possible


@given(layers, tables, st.sampled_from([0.1, 0.5, 0.9]))
@settings(max_examples=150, deadline=None)
def test_nothing_of_one_size_that_keeps_as_much_is_faster(given: list, table: LatencyTable, share: float) -> None:
    choices = choices_of(given, table)
    enough = [(cost, -value) for _, cost, value in every(choices) if value >= share * choices.importance - 1e-9]
    if not enough:
        with pytest.raises(ValueError, match="wanted are"):
            choices.keeping(share)
        return
    choice = choices.keeping(share)
    assert (choice.cost, -choice.value) == min(enough)
    assert (choice.sizes, choice.cost, choice.value) in list(every(choices))


# A head costs 2, a neuron 1.
TABLE = LatencyTable(50.0, 0.0, {0: 0.0, 1: 2.0, 2: 4.0}, {0: 0.0, 1: 1.0, 2: 2.0}, {}, {})
UNEVEN = [([8, 1], [3, 3]), ([1, 1], [1, 1]), ([4, 4], [5, 0])]


@pytest.mark.parametrize(
    ("budget", "sizes", "value"),
    [
        # One layer, whole, takes 6; two of a head and a neuron as well, and keep 8 + 3 + 4 + 5.
        (6, [(1, 1), (0, 0), (1, 1)], 20.0),
        # Two with both neurons: 8 + 6 + 4 + 5.
        (8, [(1, 2), (0, 0), (1, 2)], 23.0),
        # For 10 two with two heads and a neuron: 9 + 3 + 8 + 5.
        (10, [(2, 1), (0, 0), (2, 1)], 25.0),
        (18, [(2, 2), (2, 2), (2, 2)], 32.0 + 0.0),
    ],
)
def test_by_hand(budget: float, sizes: list[Sizes], value: float) -> None:
    choice = choices_of(UNEVEN, TABLE).within(budget)
    assert (choice.sizes, choice.value) == (sizes, value)
    assert choice.ranks == [{}, {}, {}]
