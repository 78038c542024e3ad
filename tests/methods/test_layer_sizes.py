"""What every layer is left with, against every choice there is."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.core.context import LayerImportance, ProductImportance
from compress.core.latency_table import LatencyTable
from compress.methods.layer_sizes import Choices, Sizes, rank_losses

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


grid = st.lists(st.integers(-5, 2), min_size=4, max_size=4).map(
    lambda more: {1: dict(zip((1, 2), more[:2], strict=True)), 2: dict(zip((1, 2), more[2:], strict=True))}
)
thin = st.fixed_dictionaries({"attention_output": grid, "ffn_in": grid, "ffn_out": grid})
components = st.lists(st.integers(0, 3), min_size=4, max_size=4)


def with_products(given: list[tuple[list[int], list[int]]], values: list[list[int]]) -> list[LayerImportance]:
    """Each layer's products are 4 wide on the side of the hidden states, and 4 for each head or neuron."""
    found = []
    for layer in given:
        parts = [torch.tensor(part, dtype=torch.float64) for part in layer]
        products = {
            name: ProductImportance(torch.tensor(value, dtype=torch.float64), hidden=4, unit=4)
            for name, value in zip(("attention_output", "ffn_in", "ffn_out"), values, strict=True)
            if len(parts[name != "attention_output"])
        }
        found.append(LayerImportance(*parts, 0.0, products))
    return found


@given(
    st.lists(layers.map(lambda found: found[0]), min_size=2, max_size=2),
    tables,
    thin,
    st.lists(components, min_size=3, max_size=3),
    st.booleans(),
    st.integers(0, 40),
)
@settings(max_examples=100, deadline=None)
def test_ranks_compete_with_all_else(
    given: list, table: LatencyTable, thin: dict, values: list, blocks: bool, budget: int
) -> None:
    if not any(heads for heads, _ in given):
        return
    table = dataclasses.replace(table, low_rank=thin)
    found = with_products(given, values)
    choices = Choices(found=found, table=table, blocks=blocks, neuron_multiple=1)
    attending = max(number for number, layer in enumerate(found) if len(layer.heads))
    reached = []
    for sizes, _, value in every(choices):
        # At up to two of four components there are no more multiply-adds; the last layers stay whole.
        free = [
            [name for name, count in (("attention_output", k), ("ffn_in", n), ("ffn_out", n)) if count]
            if number < attending
            else []
            for number, (k, n) in enumerate(sizes)
        ]
        for ranks in itertools.product(*(itertools.product((0, 1, 2), repeat=len(names)) for names in free)):
            chosen = [
                {name: rank for name, rank in zip(names, layer, strict=True) if rank}
                for names, layer in zip(free, ranks, strict=True)
            ]
            lost = sum(
                sum(values[["attention_output", "ffn_in", "ffn_out"].index(name)][rank:])
                * share(found[number], sizes[number], name)
                for number, layer in enumerate(chosen)
                for name, rank in layer.items()
            )
            reached.append((table.predict(sizes, chosen) - table.fixed, value - lost))
    fitting = [value for cost, value in reached if cost <= budget + 1e-9]
    if not fitting:
        return
    choice = choices.within(budget + 1e-9)
    assert choice.value == pytest.approx(max(fitting))
    assert table.predict(choice.sizes, choice.ranks) - table.fixed == pytest.approx(choice.cost)


def share(layer: LayerImportance, sizes: Sizes, name: str) -> float:
    """Of all heads or neurons, those that stay."""
    part, count = (layer.heads, sizes[0]) if name == "attention_output" else (layer.neurons, sizes[1])
    return count / len(part)


def test_what_a_rank_loses() -> None:
    product = ProductImportance(torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64), hidden=6, unit=1)
    assert rank_losses(product, 1.0, np.array([0, 1, 2, 3, 4])).tolist() == [15.0, 7.0, 3.0, 1.0, 0.0]
    # A product of half of the neurons makes half of the errors.
    assert rank_losses(product, 0.5, np.array([1, 3])).tolist() == [3.5, 0.5]


def test_a_rank_pays_where_it_loses_less_than_neurons_do() -> None:
    # Whole: 12 + 1.2. Halving the rank of one product saves 2 for 1 of importance, a neuron 1 for 3.
    found = with_products([([9, 9], [3, 3]), ([9, 9], [3, 3])], [[9, 9, 0, 0], [2, 1, 1, 0], [9, 9, 9, 9]])
    saving = {1: {1: -1.0, 2: -1.0}, 2: {1: -2.0, 2: -2.0}}
    table = dataclasses.replace(TABLE, low_rank=dict.fromkeys(("attention_output", "ffn_in", "ffn_out"), saving))
    choices = Choices(found=found, table=table, blocks=False, neuron_multiple=1)
    # The heads' product loses nothing at rank 2, so there it saves 2 for nothing.
    assert choices.within(11.2).ranks == [{"attention_output": 2}, {}]
    choice = choices.within(9.2)
    assert (choice.sizes, choice.ranks) == ([(2, 2), (2, 2)], [{"attention_output": 2, "ffn_in": 2}, {}])
    assert (choice.cost, choice.value) == (pytest.approx(9.2), pytest.approx(48 - 1))
    # Where nothing was measured of a single neuron its products stay whole, and the layer does not pay.
    few = dataclasses.replace(table, low_rank={name: {2: saving[2]} for name in table.low_rank})
    found = [dataclasses.replace(layer, neurons=layer.neurons[:1]) for layer in found]
    choices = Choices(found=found, table=few, blocks=False, neuron_multiple=1)
    assert choices.within(10.2).ranks == [{"attention_output": 2}, {}]
    assert choices.within(9.2).sizes == [(0, 0), (2, 1)]


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


def test_the_first_layer_stays_where_it_must() -> None:
    # A layer takes 12, a last one 1.2: without its first layer the model keeps more in the same time.
    given = [([0.1, 0.1], [0.1, 0.1]), ([9, 9], [3, 3]), ([9, 9], [3, 3])]
    free = choices_of(given, TABLE, blocks=False)
    assert free.within(13.2).sizes == [(0, 0), (2, 2), (2, 2)]
    tied = dataclasses.replace(free, keeps_first=True)
    assert all(tied.within(budget).sizes[0] != (0, 0) for budget in (13.2, 20.0, 30.0))
    # The least of a first layer, one head and one neuron, is what more the fastest choice takes.
    assert tied.least == pytest.approx(free.least + TABLE.layer(1, 1, last=False))


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
