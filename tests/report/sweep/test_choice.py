"""The run to take: proven first, then the fastest, and said in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import InputError
from compress.report.sweep.choice import choose, margin_for
from compress.report.sweep.evidence import gather
from compress.report.sweep.runs import Run, find_runs
from compress.report.sweep.standing import standing_of

from .conftest import MakeRun, line, measured


def test_the_fastest_of_the_proven(runs: list[Run]) -> None:
    choice = choose([standing_of(run) for run in runs], 0.01)
    assert choice.best is not None and choice.faster is not None
    # -0.4 - 0.2 lies above -1.0; -0.9 - 0.2 does not, though -0.9 does.
    assert (choice.best.run.name, choice.proven, choice.faster.run.name) == ("1", True, "2")


def test_unproven_where_nothing_is_proven(runs: list[Run]) -> None:
    choice = choose([standing_of(run) for run in runs], 0.003)
    assert choice.best is not None
    # Only -0.2 lies within -0.3; its interval ends at -0.4.
    assert (choice.best.run.name, choice.proven, choice.faster) == ("0", False, None)


def test_nothing_where_nothing_lies_within(runs: list[Run]) -> None:
    choice = choose([standing_of(run) for run in runs], 0.001)
    assert choice.best is None and choice.nearest is not None
    assert choice.nearest.run.name == "0"


def test_a_model_that_was_not_exported_is_never_taken(make_run: MakeRun) -> None:
    folder = make_run("0", [line("quantize", "failed", "roll_back", **measured(0.01, 9.0, 9.0, "q"))], exported=None)
    choice = choose([standing_of(find_runs([folder])[0])], 0.01)
    assert choice.best is None and choice.nearest is None


def test_the_margin_is_the_strictest_of_the_runs(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("0", [], settings={"objective": {"max_accuracy_drop": 0.02}})
    make_run("1", [], finished=False, settings={"objective": {"max_accuracy_drop": 0.005}})
    standings = [standing_of(run) for run in find_runs([tmp_path])]
    assert margin_for(standings, None) == 0.005
    assert margin_for(standings, 0.03) == 0.03
    for bad in (0.0, 1.5, float("nan"), -0.01):
        with pytest.raises(InputError, match=r"--margin is .*must lie in \(0, 1\]"):
            margin_for(standings, bad)


def test_without_any_margin_one_is_asked_for(make_run: MakeRun) -> None:
    folder = make_run("0", [], settings={"objective": {"max_accuracy_drop": None}})
    with pytest.raises(InputError, match=r"--margin is not given, .* Add --margin 0\.01"):
        margin_for([standing_of(find_runs([folder])[0])], None)


def test_the_advice_in_words(runs: list[Run], tmp_path: Path) -> None:
    advice = gather([tmp_path / "sweep"], 0.01).recommendation
    assert advice.headline == (
        "Take run 1 (heads 0.75, scheme dynamic): 4.00 times the teacher's speed in 20.0 MB, -0.40 [-0.60, -0.20] "
        "points on validation."
    )
    assert (advice.tone, advice.badge) == ("good", "proven on validation")
    assert advice.details[0] == (
        "Of 3 models the fastest whose accuracy is proven on validation to lie within 1.00 points of the teacher's."
    )
    assert advice.details[1].startswith(
        "Run 2 (heads 0.5, scheme dynamic) is faster, 6.00 times, but unproven: -0.90 ["
    )
    assert advice.details[2].startswith("It was chosen by validation among 3 models")
    assert advice.test == (
        "On the test split, 700 examples that took no part in any choice: -0.20 [-0.60, +0.20] points, which confirms "
        "1.00 points."
    )


def test_the_advice_where_it_is_unproven_or_nothing(runs: list[Run], tmp_path: Path) -> None:
    unproven = gather([tmp_path / "sweep"], 0.003).recommendation
    assert (unproven.tone, unproven.badge) == ("unsure", "unproven")
    assert unproven.details[0].startswith("No model is proven to lie within 0.30 points of the teacher.")
    assert "which alone does not decide 0.30 points" in unproven.test
    nothing = gather([tmp_path / "sweep"], 0.001).recommendation
    assert nothing.headline == (
        "Nothing to take: none of 3 models stays within 0.10 points of the teacher on validation. Run 0 comes nearest, "
        "-0.20 [-0.40, 0.00] points."
    )
    assert (nothing.tone, nothing.test) == ("bad", "")


def test_a_model_that_lost_a_class_is_not_taken(make_run: MakeRun) -> None:
    row = {**line("quantize", "failed", "keep", **measured(0.01, 9.0, 9.0, "q")), "missed": ["recall of class spam"]}
    choice = choose([standing_of(find_runs([make_run("0", [row], exported="quantize")])[0])], 0.01)
    assert choice.best is None and choice.nearest is None


def test_nothing_is_proven_against_a_doubtful_teacher(make_run: MakeRun) -> None:
    folder = make_run("0", [line("quantize", **measured(0.0, 9.0, 9.0, "q"))], doubts=["the teacher is a guess"])
    standing = standing_of(find_runs([folder])[0])
    assert (standing.status, standing.reasons) == ("unproven", ("the teacher is a guess",))
    choice = choose([standing], 0.01)
    assert choice.best is standing and not choice.proven
