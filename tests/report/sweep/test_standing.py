"""How each run ended, in the run's own words."""

from __future__ import annotations

import math
from pathlib import Path

from compress.report.sweep.runs import Run, find_runs
from compress.report.sweep.standing import TONES, standing_of

from .conftest import MakeRun, line, measured


def test_every_end_has_its_word(runs: list[Run]) -> None:
    standings = [standing_of(run) for run in runs]
    assert [standing.status for standing in standings] == [
        "passed", "passed", "unproven", "nothing passed", "broke", "unfinished",
    ]  # fmt: skip
    assert [standing.exported for standing in standings] == [True, True, True, False, False, False]
    assert [standing.drawn for standing in standings] == [True, True, True, True, False, False]
    # Without a model the last measured one stands for the run.
    assert standings[3].difference == -0.05
    assert standings[4].reasons == ("error, stopped: at stage quantize, it broke: the loss is not finite",)
    assert standings[5].reasons == (
        "there is no summary.json: the run was stopped, or is still at work; the last finished stage is prune",
    )
    assert {standing.status for standing in standings} <= TONES.keys()


def test_a_failed_stage_that_was_kept_and_one_that_was_rolled_back(make_run: MakeRun) -> None:
    rows = [
        line("prune", "inconclusive", reasons=["kept, and behind us"], **measured(-0.005, 2.0, 60.0, "p")),
        line("fuse", "failed", reasons=["too slow"], **measured(-0.006, 2.0, 60.0, "f")),
        line("quantize", "failed", "roll_back", reasons=["too bad"], **measured(-0.06, 5.0, 20.0, "q")),
    ]
    standing = standing_of(find_runs([make_run("0", rows, exported="fuse")])[0])
    assert (standing.status, standing.speedup) == ("failed, kept", 2.0)
    assert standing.reasons == (
        "failed, kept: at stage fuse, too slow",
        "failed, rolled back: at stage quantize, too bad",
    )


def test_what_a_sweep_says_of_a_job_is_taken_up(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("0", [line("prune")], finished=False)
    (folder / "outcome.json").write_text('{"ending": "lost", "reason": "its process died"}', encoding="utf-8")
    standing = standing_of(find_runs([folder])[0])
    assert (standing.status, standing.reasons) == ("broke", ("its process died",))


def test_a_summary_whose_ledger_lost_the_exported_stage(make_run: MakeRun) -> None:
    standing = standing_of(find_runs([make_run("0", [line("prune")], exported="quantize")])[0])
    assert (standing.status, standing.drawn) == ("broke", False)
    assert standing.reasons == ("the ledger's line of the exported stage quantize is lost",)


def test_numbers_that_are_none_are_not_drawn(make_run: MakeRun) -> None:
    rows = [line("quantize", **{**measured(-0.001, 2.0, 20.0, "q"), "speedup": math.nan})]
    standing = standing_of(find_runs([make_run("0", rows)])[0])
    assert standing.speedup is None and not standing.drawn
