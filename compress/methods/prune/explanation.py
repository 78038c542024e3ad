"""What was chosen for a budget, and why, as a sentence and a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.core.fact_table import FactTable, Kind, Value
from compress.methods.layer_sizes import ATTENTION_PRODUCTS, Choice, Choices, rank_losses

COLUMNS: tuple[tuple[str, Kind], ...] = (
    ("layer", "count"),
    ("heads", "count"),
    ("of", "count"),
    ("importance", "share"),
    ("of", "share"),
    ("neurons", "count"),
    ("of", "count"),
    ("importance", "share"),
    ("of", "share"),
    ("ms", "milliseconds"),
    ("of", "milliseconds"),
    ("thin products", "text"),
)


def explanation(choices: Choices, choice: Choice, numbers: Sequence[int]) -> tuple[str, FactTable]:
    """What was chosen and why: what all keeps of its importance and of its time, and the same of each layer, with what
    thin products save.

    numbers: what each layer is called.
    """
    table, all_there_is = choices.table, max(choices.importance, 1e-300)
    before = [(len(layer.heads), len(layer.neurons)) for layer in choices.found]
    took, takes = table.costs(before), table.costs(choice.sizes, choice.ranks)
    rows = []
    for i, (layer, (heads, neurons)) in enumerate(zip(choices.found, choice.sizes, strict=True)):
        row: list[Value] = [numbers[i]]
        for values, kept in ((layer.heads, heads), (layer.neurons, neurons)):
            stays = float(values.double().sort(descending=True).values[:kept].sum()) / all_there_is
            row += [kept, len(values), stays, float(values.sum()) / all_there_is]
        rows.append([*row, takes[i], took[i], "; ".join(_thin_products(choices, choice, i, all_there_is))])
    sentence = (
        f"kept {choice.value / all_there_is:.1%} of all importance in {table.fixed + sum(takes):.3f} ms; all of it "
        f"takes {table.fixed + sum(took):.3f} ms"
    )
    return sentence, FactTable.of("What each layer keeps of all importance, and of its time", COLUMNS, rows)


def _thin_products(choices: Choices, choice: Choice, number: int, all_there_is: float) -> list[str]:
    """Which products of a layer become two thin ones, what that saves and what it costs."""
    layer, (heads, neurons) = choices.found[number], choice.sizes[number]
    told = []
    for name, rank in choice.ranks[number].items():
        count, values = (heads, layer.heads) if name in ATTENTION_PRODUCTS else (neurons, layer.neurons)
        saves = -choices.table.thinner(name, count, rank)
        lost = float(rank_losses(layer.products[name], count / len(values), np.array(rank))) / all_there_is
        told.append(f"{name} of rank {rank}: {saves:.3f} ms less for {lost:.1%} of all importance")
    return told
