"""What every layer is left with, against every choice there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.core.context import LayerImportance
from compress.core.latency_table import LatencyTable
from compress.ops.layer_sizes import Choices, Sizes

curve = st.lists(st.integers(0, 9), min_size=3, max_size=3).map(lambda costs: dict(enumerate(sorted(costs))))
tables = st.builds(LatencyTable, st.just(100.0), st.just(5.0), curve, curve, curve, curve)
# Up to two heads and two neurons; none where the block has gone before.
parts = st.lists(st.integers(0, 9), max_size=2)
layers = st.lists(st.tuples(parts, parts).filter(any), min_size=1, max_size=3).filter(
    lambda given: any(heads for heads, _ in given)
)


def choices_of(given: list[tuple[list[int], list[int]]], table: LatencyTable, *, blocks: bool) -> Choices:
    found = [LayerImportance(*(torch.tensor(part, dtype=torch.float64) for part in layer), 0.0) for layer in given]
    return Choices(found=found, table=table, blocks=blocks, neuron_multiple=1)


def every(choices: Choices) -> Iterator[tuple[list[Sizes], float, float]]:
    """All sizes, their costs and values: the last attention stays, and the last layer, of which the head reads."""
    attending = max(number for number, layer in enumerate(choices.found) if len(layer.heads))
    options = []
    for layer in choices.found:
        counts = [range(len(part) + 1) for part in (layer.heads, layer.neurons)]
        options.append(
            [size for size in itertools.product(*counts) if choices.blocks or not any(size) or whole(layer, size)]
        )
    for sizes in itertools.product(*options):
        if sizes[attending][0] and any(sizes[-1]):
            value = sum(
                float(part.sort(descending=True).values[:count].sum())
                for layer, size in zip(choices.found, sizes, strict=True)
                for part, count in zip((layer.heads, layer.neurons), size, strict=True)
            )
            yield list(sizes), choices.table.predict(sizes) - choices.table.fixed, value


def whole(layer: LayerImportance, size: Sizes) -> bool:
    """Whether every block that is there stays."""
    return all(count > 0 for count, part in zip(size, (layer.heads, layer.neurons), strict=True) if len(part))


@given(layers, tables, st.booleans(), st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_nothing_in_the_budget_keeps_more(given: list, table: LatencyTable, blocks: bool, budget: int) -> None:
    choices = choices_of(given, table, blocks=blocks)
    possible = list(every(choices))
    assert choices.least == min(cost for _, cost, _ in possible)
    fitting = [value for _, cost, value in possible if cost <= budget]
    if not fitting:
        with pytest.raises(ValueError, match="the budget is"):
            choices.within(budget)
        return
    choice = choices.within(budget)
    assert choice.value == max(fitting)
    assert choice.cost <= budget
    assert (choice.sizes, choice.cost, choice.value) in possible


@given(layers, tables, st.booleans(), st.sampled_from([0.3, 0.6, 0.9, 1.0]))
@settings(max_examples=150, deadline=None)
def test_nothing_that_keeps_as_much_is_faster(given: list, table: LatencyTable, blocks: bool, share: float) -> None:
    choices = choices_of(given, table, blocks=blocks)
    enough = [cost for _, cost, value in every(choices) if value >= share * choices.importance - 1e-9]
    choice = choices.keeping(share)
    assert choice.cost == min(enough)
    assert (choice.sizes, choice.cost, choice.value) in list(every(choices))


TABLE = LatencyTable(
    teacher=50.0,
    fixed=1.0,
    attention={0: 1.0, 1: 5.0, 2: 6.0},
    ffn={0: 1.0, 1: 5.0, 2: 6.0},
    last_attention={0: 0.1, 1: 0.5, 2: 0.6},
    last_ffn={0: 0.1, 1: 0.5, 2: 0.6},
)


def test_a_block_leaves_alone_where_it_may() -> None:
    # A whole layer takes 12. The first one's FFN alone, with the norm of its attention, takes 1 + 6 and keeps 6; with
    # half of each block it would take 10. The last layer takes 1.2 and keeps 24.
    given = [([0.1, 0.1], [3, 3]), ([9, 9], [3, 3])]
    assert choices_of(given, TABLE, blocks=False).within(9.0).sizes == [(0, 0), (2, 2)]
    alone = choices_of(given, TABLE, blocks=True).within(9.0)
    assert alone.sizes == [(0, 2), (2, 2)]
    assert (alone.cost, alone.value) == (pytest.approx(8.2), pytest.approx(30.0))


def test_the_last_attention_stays_however_little_it_is_worth() -> None:
    # The first layer takes 12, of 13.2 in all. Were it the last with attention, it would take 1.2, and the second 0.7.
    given = [([9, 9], [9, 9]), ([0.1, 0.1], [3, 3])]
    assert choices_of(given, TABLE, blocks=True).within(2.0).sizes == [(0, 0), (2, 2)]
    # A last layer that has none already only keeps the one before.
    given = [([9, 9], [9, 9]), ([], [3, 3])]
    choice = choices_of(given, TABLE, blocks=True).within(2.0)
    assert choice.sizes == [(2, 2), (0, 2)]
    assert choice.cost == pytest.approx(1.9)


def test_widths_are_multiples_or_what_they_are() -> None:
    layer = LayerImportance(torch.ones(1), torch.ones(5), 0.0)
    table = LatencyTable(
        9.0, 1.0, {0: 0.0, 1: 1.0}, {0: 0.0, 5: 5.0, 2: 2.0}, {1: 1.0, 0: 0.0}, {0: 0.0, 5: 5.0, 2: 2.0}
    )
    choices = Choices(found=[layer], table=table, blocks=False, neuron_multiple=2)
    assert [choices.within(budget).sizes for budget in (3.0, 4.9, 5.0, 6.0)] == [[(1, 2)], [(1, 2)], [(1, 4)], [(1, 5)]]
