"""A search from the command line. Gates alone are searched, so that no trial needs new work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="Optuna's extra is not installed")

SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.trials=3", "gates.ends.confidence=interval(0.6,0.9)")


def test_a_search_finds_a_front_and_the_same_command_repeats_nothing(terminal: Any) -> None:
    answer = terminal.sweep(*SEARCH)
    assert answer.status == 0, answer.errors
    record = terminal.record()
    assert terminal.endings() == ["exported"] * 3
    # One model: each trial measured the same, and none beats another.
    assert record["search"]["front"] == [0, 1, 2] and "* 2" in answer.output
    chosen = [job["settings"]["gates.ends.confidence"] for job in record["jobs"]]
    assert len(set(chosen)) == 3 and all(0.6 <= value <= 0.9 for value in chosen)
    assert f"gates.ends.confidence={chosen[1]:.6g}" in record["jobs"][1]["command"]
    again = terminal.sweep(*SEARCH)
    assert again.status == 0 and "job 0: gates" not in again.output and "* 2" in again.output
    more = terminal.sweep(*SEARCH, "hydra.sweeper.trials=4")
    assert more.status == 0 and "job 3: gates" in more.output and "job 2: gates" not in more.output


def test_a_trial_that_passes_no_gate_is_kept_with_its_reason(terminal: Any) -> None:
    answer = terminal.sweep(*SEARCH, "gates.ends.min_speedup=choice(1000,0.0001)", "hydra.sweeper.trials=4")
    jobs = terminal.record()["jobs"]
    missed = [job["number"] for job in jobs if job["settings"]["gates.ends.min_speedup"] == 1000]
    assert answer.status == 0 and 0 < len(missed) < 4
    assert [job["number"] for job in jobs if job["ending"] == "nothing passed"] == missed
    assert all("limit 1000.00" in jobs[number]["reason"] for number in missed)
    assert not set(missed) & set(terminal.record()["search"]["front"])


def test_a_search_in_which_nothing_passes_ends_as_its_worst_trial(terminal: Any) -> None:
    answer = terminal.sweep(*SEARCH, "gates.ends.min_speedup=1000", "hydra.sweeper.trials=1")
    assert answer.status == 3 and "1 of 1 jobs exported nothing" in answer.errors


def test_a_search_that_is_stopped_goes_on_with_the_trial_it_had_begun(terminal: Any) -> None:
    command = (*SEARCH, "stages.ends.how=interrupted_search", "hydra.sweeper.trials=2")
    assert terminal.sweep(*command).status == 130
    assert terminal.endings() == ["interrupted"]
    begun = terminal.record()["jobs"][0]["settings"]
    Path("mended").touch()
    assert terminal.sweep(*command).status == 0
    assert terminal.endings() == ["exported", "exported"]
    assert terminal.record()["jobs"][0]["settings"] == begun


WRONG = [
    (["gates.ends.confidense=interval(0.6,0.9)"], "gates.ends.confidense is no setting", "'gates.ends.confidence'"),
    (["gates.ends.confidence=interval(0.6,1.9)"], "gates.ends.confidence=1.9: gates.ends.confidence is 1.9", "0.95"),
    (["gates.ends.confidence=interval(0.9,0.6)"], "nothing between its ends", "smaller"),
    (["gates.ends.confidence=interval(0.9"], "cannot be read", "Put quotes"),
    (["seed=3"], "no setting has values to choose from", "interval(4.0,16.0)"),
    (["seed=1,2", "hydra.sweeper.trials=0"], "hydra.sweeper.trials is 0", "at least 1"),
    (["seed=1,2", "hydra.sweeper.trails=9"], "hydra.sweeper.trails is no setting", "'hydra.sweeper.trials'"),
    (["seed=1,2", "hydra.sweeper.objectives=[speed]"], "hydra.sweeper.objectives is 'speed'", "'speedup'"),
]


@pytest.mark.parametrize(("arguments", "named", "way_out"), WRONG, ids=[" ".join(case[0]) for case in WRONG])
def test_a_search_that_cannot_be_is_refused_before_any_work(
    terminal: Any, arguments: list[str], named: str, way_out: str
) -> None:
    answer = terminal.sweep("hydra/sweeper=optuna", *arguments)
    assert answer.status == 2 and answer.output == ""
    assert named in answer.errors and way_out in answer.errors, answer.errors
    assert not any(terminal.folder.iterdir())


def test_a_folder_that_holds_another_search_is_left_as_it_is(terminal: Any) -> None:
    assert terminal.sweep(*SEARCH, "hydra.sweeper.trials=1").status == 0
    before = (terminal.folder / "sweep" / "sweep.json").read_bytes()
    answer = terminal.sweep(*SEARCH, "seed=1")
    assert answer.status == 2 and "its settings had nothing more, where this one has seed=1" in answer.errors
    assert (terminal.folder / "sweep" / "sweep.json").read_bytes() == before
