"""What may be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from compress.core.errors import InputError
from compress.core.objective import Objective


@pytest.mark.parametrize("speedup", [None, 1.5, 10])
def test_accepted(speedup: float | None) -> None:
    assert Objective(speedup=speedup, max_accuracy_drop=0.01).speedup == speedup


@pytest.mark.parametrize(("workload", "at_once"), [("one", 1), ("bulk", 32)])
def test_how_many_examples_a_call_has(workload: str, at_once: int) -> None:
    assert Objective(speedup=None, max_accuracy_drop=None, workload=workload).at_once == at_once


def test_a_workload_that_there_is_not() -> None:
    with pytest.raises(InputError, match=r"workload is 'bulky'; .*one of bulk, one\. Did you mean 'bulk'\?"):
        Objective(speedup=None, max_accuracy_drop=None, workload="bulky")


@pytest.mark.parametrize(("speedup", "rule"), [(0, "greater than 0"), (1, "greater than 1"), (0.5, "greater than 1")])
def test_refused(speedup: Any, rule: str) -> None:
    with pytest.raises(InputError, match=rf"^objective\.speedup is {speedup}; it must be {rule}"):
        Objective(speedup=speedup, max_accuracy_drop=0.01)


@pytest.mark.parametrize("drop", [None, 0, 0.99])
def test_a_drop_that_may_be_asked_for(drop: float | None) -> None:
    assert Objective(speedup=None, max_accuracy_drop=drop).max_accuracy_drop == drop


@pytest.mark.parametrize("drop", [1, -0.01, True, False, "1%", float("nan")])
def test_a_drop_is_a_fraction_below_one(drop: Any) -> None:
    with pytest.raises(InputError, match=rf"^objective\.max_accuracy_drop is {drop}; it is a fraction in \[0, 1\)"):
        Objective(speedup=None, max_accuracy_drop=drop)
