"""What a busy machine left unmeasured is measured once more where that is asked for, and nothing else is done again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.core.errors import NothingPassedError
from compress.core.evaluation import BUSY, Latency
from compress.pipeline.made import evaluations
from compress.pipeline.spine import RunResult, run

CHEAP = (
    *("data.max_length=16", "order=[quantize]", "device=cpu", "runtime=torch", "runtime.threads=1"),
    *("measurement.launches=1", "measurement.rounds=1", "measurement.examples=2", "measurement.warmup=0"),
    # Whatever 40 examples of a random model show, it is kept.
    *("gates.quantize.on_failure=warn", "gates.quantize.max_accuracy_drop=1"),
)


class Machine:
    """What is timed, by whom, and whether others disturb it: everything as it is told. Three times as fast."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.disturbed_rounds, self.timed, self.scored = 0, 0, 0
        real = evaluations.score

        def score(*arguments: Any, **named: Any) -> Any:
            self.scored += 1
            return real(*arguments, **named)

        patch.setattr(evaluations, "time_candidate", self._time)
        patch.setattr(evaluations, "score", score)

    def _time(self, *arguments: Any, at_once: int) -> Latency:
        self.timed += 1
        return Latency(
            rounds=((1.0,), (1.0,)),
            baseline_rounds=((3.0,), (3.0,)),
            foreign_share=0.5,
            disturbed=self.disturbed_rounds > 0,
            disturbed_rounds=self.disturbed_rounds,
        )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, in_this_process: None) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def again(checkpoint: Path, examples: Path, tmp_path: Path) -> Callable[..., RunResult]:
    """`again(*settings)`: the same run once more, with these."""

    def start(*settings: str) -> RunResult:
        given = (f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}")
        recipe = compress.recipe("text_classification", *given, *CHEAP, *settings)
        return run(recipe, tmp_path / "run", command="compress -cn text_classification")

    return start


def speeds(result: RunResult) -> list[float | None]:
    return [row.speedup for row in result.rows]


def test_a_busy_machine_claims_nothing_and_a_quiet_one_measures_what_is_missing(
    machine: Machine, again: Callable[..., RunResult], tmp_path: Path
) -> None:
    machine.disturbed_rounds = 2
    busy = again()
    assert (machine.timed, speeds(busy)) == (2, [1.0, None])
    row, student = busy.rows[1], busy.summary["student"]
    assert row.disturbance is not None and row.disturbance.speedup == pytest.approx(3.0)
    assert row.latency_ms_p50 is None and row.speedup_vs_torch is None and busy.rows[0].latency_ms_p50 is None
    assert student["speedup"] is None and student["disturbance"]["rounds"] == 2
    assert not busy.summary["exported"]["proven"]
    card = (tmp_path / "run" / "export" / "README.md").read_text(encoding="utf-8")
    assert "the machine was busy" in card and "times as fast as the teacher" not in card.replace("\n", " ")

    # Nobody asked: nothing is measured, and nothing claimed.
    scored, artifacts = machine.scored, sorted((tmp_path / "store" / "artifacts").iterdir())
    machine.disturbed_rounds = 0
    assert speeds(again()) == [1.0, None] and machine.timed == 2

    quiet = again("measurement.again=true")
    assert (machine.timed, machine.scored) == (4, scored)
    assert speeds(quiet) == [1.0, pytest.approx(3.0)]
    assert quiet.rows[1].disturbance is None and quiet.rows[1].latency_ms_p50 == 1.0
    assert all(row.reused for row in quiet.rows)
    assert sorted((tmp_path / "store" / "artifacts").iterdir()) == artifacts
    assert [row.value for row in quiet.rows] == [row.value for row in busy.rows]

    # What was measured is not measured again, by whatever command.
    assert speeds(again("measurement.again=true")) == speeds(again()) == [1.0, pytest.approx(3.0)]
    assert machine.timed == 4


def test_the_quieter_of_two_is_kept(machine: Machine, again: Callable[..., RunResult]) -> None:
    def rounds(result: RunResult) -> int | None:
        disturbance = result.rows[1].disturbance
        return None if disturbance is None else disturbance.rounds

    machine.disturbed_rounds = 2
    assert rounds(again()) == 2
    machine.disturbed_rounds = 5
    assert rounds(again("measurement.again=true")) == 2
    machine.disturbed_rounds = 1
    assert rounds(again("measurement.again=true")) == 1 == rounds(again())


def test_a_limit_on_speed_that_nobody_could_judge_says_how_to(
    machine: Machine, again: Callable[..., RunResult]
) -> None:
    machine.disturbed_rounds = 2
    limits = ("gates.quantize.min_speedup=2", "gates.quantize.on_inconclusive=fail", "gates.quantize.on_failure=stop")
    with pytest.raises(NothingPassedError) as raised:
        again(*limits)
    assert BUSY in str(raised.value)
    assert "compress -cn text_classification measurement.again=true" in str(raised.value)
    machine.disturbed_rounds = 0
    # The model answers everything alike, so it passes no gate; its speed is judged now.
    with pytest.raises(NothingPassedError) as raised:
        again(*limits, "measurement.again=true")
    assert "speed-up 3.00 [3.00, 3.00], limit 2.00" in str(raised.value)
    assert BUSY not in str(raised.value) and "measurement.again" not in str(raised.value)
