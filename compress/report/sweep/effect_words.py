"""Main effects in words: a table with a row per setting, and one sentence per number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compress.core.metric import Label, Unit
from compress.report import wording
from compress.report.sweep.effects import Effect
from compress.report.sweep.factors import Factor
from compress.report.templates import typographic
from compress.report.wording import DECIMALS

_TIMES = {"speed": "times as fast", "bytes": "times the bytes"}


@dataclass(frozen=True)
class Cell:
    """share: of the differences, 0 to 1; None where nothing is claimed, and `text` says why."""

    share: float | None
    text: str
    clear: bool


@dataclass(frozen=True)
class Line:
    """One setting. counts: its values with their numbers of measured runs. cells: by number."""

    factor: Factor
    counts: str
    cells: dict[str, Cell]


def lines(effects: Mapping[str, Sequence[Effect]], factors: Sequence[Factor], metric: Label) -> list[Line]:
    """One per setting, in the order of what they do to speed."""
    by_name = {number: {effect.factor.name: effect for effect in found} for number, found in effects.items()}
    order = [effect.factor for effect in effects["speed"]]
    return [
        Line(
            factor=factor,
            counts=", ".join(f"{level} ({count})" for level, count in by_name["speed"][factor.name].runs.items()),
            cells={number: _cell(number, found[factor.name], metric) for number, found in by_name.items()},
        )
        for factor in order
        if factor in factors
    ]


def sentences(effects: Mapping[str, Sequence[Effect]], metric: Label) -> list[str]:
    """What matters most for each number, or that nothing can be claimed."""
    return [_sentence(number, found, metric) for number, found in effects.items()]


def _sentence(number: str, effects: Sequence[Effect], metric: Label) -> str:
    name = wording.capitalized(metric.title if number == "metric" else number)
    claimed = [effect for effect in effects if effect.reason is None]
    if not claimed:
        return f"{name}: nothing is claimed, for the reasons below."
    clear = [effect for effect in claimed if effect.clear]
    if not clear:
        return f"{name}: no setting stands out from what the others and chance do."
    first = clear[0]
    return typographic(
        f"{name}: {first.factor.name} matters most, {first.share:.0%} of the differences. "
        f"{_change(number, first, metric.unit)}."
    )


def _cell(number: str, effect: Effect, metric: Label) -> Cell:
    if effect.reason is not None:
        return Cell(None, effect.reason, False)
    return Cell(effect.share, typographic(_change(number, effect, metric.unit)), effect.clear)


def _change(number: str, effect: Effect, unit: Unit) -> str:
    low, high = effect.interval
    values = f"{effect.high} instead of {effect.low}"
    if number == "metric":
        told = wording.difference_with_interval(effect.change, effect.interval, unit, DECIMALS)
        return f"{values}: {wording.counted(told, unit)}"
    factor = wording.factor_with_interval(math.exp(effect.change), (math.exp(low), math.exp(high)))
    return f"{values}: {factor} {_TIMES[number]}"
