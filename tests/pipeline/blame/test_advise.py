"""Speed-ups and overrides, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from compress.core.blame import Advice, Milder, Setback
from compress.core.stage import StageDefaults
from compress.pipeline.blame.advise import advise, expected_speedup
from compress.pipeline.blame.restore import Restoration


def test_time_given_back() -> None:
    # 1/2 and 1/4 of the teacher's time; half way is 3/8 of it.
    assert expected_speedup(2.0, 4.0, 0.5) == pytest.approx(8 / 3)
    assert expected_speedup(2.0, 4.0, 0.0) == pytest.approx(4.0)
    assert expected_speedup(2.0, 4.0, 1.0) == pytest.approx(2.0)


class Relaxing:
    def __init__(self, **settings: Any) -> None:
        self.settings, self.told = settings, []

    def relax(self, setback: Setback) -> Milder:
        self.told.append(setback)
        return Milder(self.settings, 0.5)


def recipe(stage: Any, objective: float | None = None, **settings: Any) -> Any:
    return SimpleNamespace(
        stages={"cut": stage},
        objective=SimpleNamespace(speedup=objective),
        settings={"stages": {"cut": settings}},
    )


def test_an_override_as_a_shell_takes_it() -> None:
    stage = Relaxing(keep_float=["a.b", "c"], share=0.75)
    found = Restoration(worst=("c",), recovered=0.6, worst_share=0.1)
    advice = advise(recipe(stage), "cut", None, None, found, (2.0, 4.0), pytest.fail)
    assert advice == Advice(("'stages.cut.keep_float=[a.b,c]'", "stages.cut.share=0.75"), 8 / 3, 2.0, 0.6)
    assert stage.told[0].worst == ("c",)
    assert stage.told[0].latency is pytest.fail


def test_the_objective_is_relaxed_where_the_stage_took_it_up() -> None:
    stage = Relaxing(target_speedup=6.0)
    asked = advise(recipe(stage, 10, target_speedup=10), "cut", None, None, Restoration(), (2.0, 4.0), pytest.fail)
    own = advise(recipe(stage, None, target_speedup=10), "cut", None, None, Restoration(), (2.0, 4.0), pytest.fail)
    assert asked.overrides == ("objective.speedup=6.0",)
    assert own.overrides == ("stages.cut.target_speedup=6.0",)


def test_a_stage_that_knows_nothing_milder() -> None:
    assert advise(recipe(StageDefaults()), "cut", None, None, Restoration(), (2.0, 4.0), pytest.fail) is None
