"""Hydra's sweep syntax as Optuna's distributions."""

from __future__ import annotations

import pytest

pytest.importorskip("optuna", reason="Optuna's extra is not installed")

from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from compress.cli.sweep.space import distribution_of, extremes
from compress.core.errors import InputError

CASES = [
    ("a=interval(0.3,1.0)", FloatDistribution(0.3, 1.0), [0.3, 1.0]),
    ("a=int(interval(2,6))", IntDistribution(2, 6), [2, 6]),
    ("a=interval(2,6)", FloatDistribution(2.0, 6.0), [2.0, 6.0]),
    ("a=interval(2,6.5)", FloatDistribution(2.0, 6.5), [2.0, 6.5]),
    ("a=tag(log,interval(1e-5,1e-3))", FloatDistribution(1e-5, 1e-3, log=True), [1e-5, 1e-3]),
    ("a=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True), [1, 64]),
    ("a=dynamic,static", CategoricalDistribution(["dynamic", "static"]), ["dynamic", "static"]),
    ("a=null,3", CategoricalDistribution(["null", "3"]), ["null", "3"]),
    ("a=range(1,8,3)", CategoricalDistribution(["1", "4", "7"]), ["1", "4", "7"]),
    ("a=[prune,fuse],[fuse]", CategoricalDistribution(["[prune,fuse]", "[fuse]"]), ["[prune,fuse]", "[fuse]"]),
]


@pytest.mark.parametrize(("typed", "expected", "ends"), CASES)
def test_what_may_be_chosen(typed: str, expected: object, ends: list[object]) -> None:
    found = distribution_of(OverridesParser.create().parse_override(typed))
    assert found == expected and extremes(found) == ends


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("a=interval(1.0,0.3)", "nothing between its ends"),
        ("a=interval(2,2)", "nothing between its ends"),
        ("a=tag(log,interval(0,3))", "greater than 0"),
    ],
)
def test_an_interval_in_which_nothing_lies(typed: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        distribution_of(OverridesParser.create().parse_override(typed))
