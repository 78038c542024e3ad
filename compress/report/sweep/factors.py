"""The settings that differ between runs: what a reader filters by, and what effects are told of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from compress.report.sweep.runs import Run

# Where finished work lies changes nothing about it.
_NO_SETTING_OF_A_MODEL = ("store",)
_MOST_VALUES = 5
_UNKNOWN = "not known"
_ABSENT = "not there"
_CLASS = "._target_"


@dataclass(frozen=True)
class Factor:
    """A setting with at least two values among the runs.

    short: the end of its name, as much of it as tells it from the others. values: one per run, exact. levels: one per
    run, to group by: the values, or thirds of them where there are many numbers. choices: the different levels in
    order. together: settings that changed in step with it, so that nobody can tell which of them did it.
    """

    name: str
    short: str
    values: tuple[str, ...]
    levels: tuple[str, ...]
    choices: tuple[str, ...]
    together: tuple[str, ...]


def factors_of(runs: Sequence[Run]) -> list[Factor]:
    """The settings that differ, in the order of a recipe. One that somebody typed stands for those in step with it."""
    typed = {_place(override) for run in runs for override in run.typed}
    columns = {name: column for name in _names(runs) if _differs(column := _column(runs, name))}
    chosen: dict[str, list[str]] = {}
    for name in sorted(columns, key=lambda name: (_shown(name) not in typed, not name.endswith(_CLASS), len(name))):
        twin = next((other for other in chosen if _in_step(columns[other], columns[name])), None)
        if twin is None:
            chosen[name] = []
        else:
            chosen[twin].append(_shown(name))
    order = list(columns)
    names = sorted(chosen, key=order.index)
    short = _short_names([_shown(name) for name in names])
    return [_factor(name, short[_shown(name)], columns[name], tuple(chosen[name])) for name in names]


def _place(override: str) -> str:
    """What an override sets: `stages.prune` of `stage/prune@stages.prune=budget`."""
    name = override.lstrip("+~").partition("=")[0]
    return name.partition("@")[2] or name


def _names(runs: Sequence[Run]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in run.settings)
    return [name for name in names if name not in _NO_SETTING_OF_A_MODEL]


def _column(runs: Sequence[Run], name: str) -> list[str]:
    return [run.settings.get(name, _UNKNOWN if run.summary is None else _ABSENT) for run in runs]


def _differs(column: Sequence[str]) -> bool:
    return len(set(column) - {_UNKNOWN}) > 1


def _in_step(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether each value of one goes with one value of the other, where both are known."""
    pairs = {pair for pair in zip(one, other, strict=True) if _UNKNOWN not in pair}
    return len(pairs) > 1 and len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def _shown(name: str) -> str:
    return name.removesuffix(_CLASS)


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """`heads` for `stages.prune.heads`, and `prune.heads` where another setting ends like it."""
    short = {}
    for name in names:
        parts = name.split(".")
        ends = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        short[name] = next(
            end for end in ends if end == name or not any(_ends_with(o, end) for o in names if o != name)
        )
    return short


def _ends_with(name: str, end: str) -> bool:
    return f".{name}".endswith(f".{end}")


def _factor(name: str, short: str, column: Sequence[str], together: tuple[str, ...]) -> Factor:
    values = _class_names(column) if name.endswith(_CLASS) else tuple(column)
    levels = _thirds(values) if len(set(values)) > _MOST_VALUES else values
    return Factor(_shown(name), short, values, levels, tuple(sorted(set(levels), key=_by_number)), together)


def _class_names(column: Sequence[str]) -> tuple[str, ...]:
    """The method's file, `structured` for `compress.methods.prune.structured.Structured`, where that is enough."""
    short = {path: path.split(".")[-2] if path.count(".") else path for path in column}
    distinct = len(set(short.values())) == len(short)
    return tuple(short[path] if distinct else path for path in column)


def _thirds(values: Sequence[str]) -> tuple[str, ...]:
    """Numbers as `low to high` of the third they lie in; anything else stays as it is."""
    numbers = {value: number for value in set(values) if (number := _number(value)) is not None}
    different = sorted(numbers, key=lambda value: numbers[value])
    if len(different) <= _MOST_VALUES:
        return tuple(values)
    ends = [round(part * len(different) / 3) for part in range(4)]
    parts = [different[start:end] for start, end in itertools.pairwise(ends)]
    level = {value: f"{part[0]} to {part[-1]}" for part in parts for value in part}
    return tuple(level.get(value, value) for value in values)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _by_number(level: str) -> tuple[int, float, str]:
    number = _number(level.partition(" to ")[0])
    return (1, 0.0, level) if number is None else (0, number, level)
