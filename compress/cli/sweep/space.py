"""What a search may choose: Optuna's distributions from Hydra's sweep syntax, and back to overrides."""

from __future__ import annotations

from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from compress.core.errors import InputError


def distribution_of(override: Override) -> BaseDistribution:
    """The distribution of one override.

    interval(a,b): any number between; int(interval(a,b)): any whole one; tag(log,...): by orders of magnitude.
    Everything else that has several values (a,b; choice(a,b); range(1,9,2)): one of them.
    Raises InputError where nothing lies between the ends, or an end has no logarithm.
    """
    value = override.value()
    if not isinstance(value, IntervalSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    low, high, log = value.start, value.end, "log" in value.tags
    if low is None or high is None or not low < high:
        raise InputError(f"{override.input_line} has nothing between its ends; the first must be the smaller one.")
    if log and low <= 0:
        raise InputError(f"{override.input_line} has the tag log; both ends must be greater than 0.")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def extremes(distribution: BaseDistribution) -> list[Any]:
    """The values by which to see whether all can be used: the ends of an interval, or every choice."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]
