"""How each run ended, in the run's own words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from compress.report.sweep.evidence import gather
from compress.report.sweep.page import page_of
from compress.report.sweep.runs import Run, find_runs
from compress.report.sweep.scatter import SHAPES
from compress.report.sweep.standing import TONES, standing_of

from .conftest import MakeRun, line, measured

GATE = {"max_accuracy_drop": 0.01, "min_speedup": None}


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


def labelled(make_run: MakeRun, name: str, outcome: str, **more: Any) -> Path:
    """Quantized, -0.9 points, and its interval ends at -1.1, beyond the limit of -1.0; six times as fast."""
    rows = [line("quantize", "inconclusive", **measured(-0.009, 6.0, 20.0, "q"))]
    told = {"outcome": outcome, "told": "accuracy -0.20 points, by 300 labels"}
    test = {"difference": -0.002, "interval": [-0.006, 0.002], "examples": 700}
    summary = {"gates": {"quantize": GATE}, "doubts": [], "labelled": told,
               "student": {"stage": "quantize", "test": test}} | more  # fmt: skip
    return make_run(name, rows, **summary)


def test_labels_of_further_texts_prove_a_run_or_contradict_it(make_run: MakeRun, tmp_path: Path) -> None:
    labelled(make_run, "0", "passed")
    labelled(make_run, "1", "failed")
    labelled(make_run, "2", "inconclusive")
    # They say nothing of a teacher that is worth no more than a guess.
    labelled(make_run, "3", "passed", doubts=["a guess"])
    # Of a summary that lost its limits they are told of, and no more.
    labelled(make_run, "4", "passed", gates={})
    labelled(make_run, "5", "praised")
    standings = [standing_of(run) for run in find_runs([tmp_path])]
    assert [standing.status for standing in standings] == [
        "proven by labels", "failed by labels", "unproven", "unproven", "unproven", "unproven",
    ]  # fmt: skip
    assert [standing.proven_within for standing in standings] == [0.01, None, None, None, None, None]
    told = "Labels of further texts, where teacher and student differ: accuracy -0.20 points, by 300 labels."
    assert [standing.labels for standing in standings] == [(told,)] * 5 + [()]
    assert {standing.status for standing in standings} <= TONES.keys() & SHAPES.keys()


def test_a_run_proven_by_labels_is_taken_for_the_limit_that_they_prove(make_run: MakeRun, tmp_path: Path) -> None:
    labelled(make_run, "0", "passed")
    labelled(make_run, "1", "failed")
    evidence = gather([tmp_path], 0.01)
    assert evidence.choice.best is evidence.standings[0] and evidence.choice.proven
    advice = evidence.recommendation
    assert (advice.badge, advice.tone) == ("proven by labels", "good")
    assert "is proven by labels of further texts to lie within 1.00 points of the teacher's" in advice.details[0]
    assert advice.details[1].endswith("accuracy -0.20 points, by 300 labels.")
    page = page_of(evidence)
    assert page.count("0.20 points, by 300 labels") >= 3 and "failed by labels" in page
    # A stricter margin than the run's own was never proven; a wider one, which the interval lies within, the split
    # proves of the one, and the labels speak against the other.
    assert not gather([tmp_path], 0.0095).choice.proven
    wide = gather([tmp_path], 0.02)
    assert wide.choice.best is wide.standings[0] and wide.recommendation.badge == "proven on validation"
