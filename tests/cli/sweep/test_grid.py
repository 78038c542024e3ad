"""A sweep that meets every way in which a job can end."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from compress.cli.commands.run import main
from compress.cli.sweep.job_result import worst


def test_one_failing_job_stops_no_other(terminal: Any) -> None:
    answer = terminal.sweep("stages.ends.how=raises,well,stops", "gates.ends.min_speedup=null,1000")
    # A broken stage counts more than one that passed nothing.
    assert answer.status == 1, answer.errors
    record = terminal.record()
    assert terminal.endings() == ["broken", "broken", "exported", "nothing passed", "broken", "broken"]
    assert [job["status"] for job in record["jobs"]] == [1, 1, 0, 3, 1, 1] and record["status"] == 1
    assert record["jobs"][3]["settings"] == {"stages.ends.how": "well", "gates.ends.min_speedup": 1000}
    exported, missed = record["jobs"][2], record["jobs"][3]
    assert exported["reason"] is None and "limit 1000.00" in missed["reason"]
    # The same model, measured once: what passed no gate has its numbers too.
    measured = ("stage", "accuracy_difference", "speedup", "size_bytes")
    assert [missed[name] for name in measured] == [exported[name] for name in measured]
    assert exported["stage"] == "ends" and exported["accuracy_difference"] == 0 and exported["size_bytes"] > 10_000
    broken = record["jobs"][0]
    assert broken["reason"].startswith("RuntimeError: the stage broke (see ")
    assert "in apply" in (terminal.folder / "sweep" / "0" / "traceback.txt").read_text(encoding="utf-8")
    assert record["jobs"][4]["reason"] == "the loss is not finite"
    assert terminal.ledger(4)[-1]["verdict"] == "error"
    broke = terminal.ledger(0)[-1]
    assert (broke["stage"], broke["verdict"], broke["reasons"]) == ("ends", "error", ["RuntimeError: the stage broke"])
    assert answer.errors.strip().endswith(
        f"compress: 5 of 6 jobs exported nothing (job 0, 1, 3, 4, 5); the reasons are above and in "
        f"{terminal.folder / 'sweep' / 'sweep.json'}."
    )
    assert "job 3: nothing passed its gate" in answer.output and "gates.ends.min_speedup=1000" in answer.output


def test_a_jobs_command_makes_its_run_again(terminal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert terminal.sweep("gates.ends.min_speedup=null,0.0001").status == 0
    for job in terminal.record()["jobs"]:
        words = shlex.split(job["command"])
        assert words[0] == "compress" and not any("hydra" in word for word in words)
        monkeypatch.setattr(sys, "argv", [*words, f"hydra.run.dir={terminal.folder / 'alone'}"])
        with pytest.raises(SystemExit) as done:
            main()
        assert done.value.code == 0
        alone = json.loads((terminal.folder / "alone" / "summary.json").read_text(encoding="utf-8"))
        swept = json.loads((terminal.folder / "sweep" / job["folder"] / "summary.json").read_text(encoding="utf-8"))
        assert alone["settings"] == swept["settings"] and swept["command"] == job["command"]


def test_a_model_that_missed_its_limits_is_named_where_it_was_kept_all_the_same(terminal: Any) -> None:
    answer = terminal.sweep("gates.ends.min_speedup=null,1000", "gates.ends.on_failure=warn")
    assert answer.status == 0 and terminal.endings() == ["exported", "exported"]
    good, bad = (job["reason"] for job in terminal.record()["jobs"])
    assert good is None and bad.startswith("the exported model missed its limits: at stage ends, the speed-up is ")
    assert "job 1: the exported model missed its limits" in answer.output


def test_a_second_identical_sweep_makes_nothing_again(terminal: Any) -> None:
    for _ in range(2):
        assert terminal.sweep("stages.ends.how=well,better").status == 0
    assert all(row["reused"] for job in (0, 1) for row in terminal.ledger(job))


WRONG = [
    (["stages.ends.hwo=well,raises"], "stages.ends.hwo is no setting of the recipe 'ending'", "'stages.ends.how'"),
    (["seed=0,-1", "stages.ends.how=a,b"], "2 of 4 combinations cannot be used, so none was started.", "seed is -1;"),
    (["seed=-1,-2"], "2 of 2 combinations", "seed=-2: seed is -2;"),
    (["order=[ends],[nothing]"], "order=[nothing]: order names 'nothing', which is no stage", "1 of 2"),
    (
        ["stage/quantize@stages.quantize=dynamic,statik"],
        "stage/quantize@stages.quantize=statik: stage/quantize is 'statik'",
        "Did you mean 'static'?",
    ),
    (["data.train=nowhere.jsonl,nothing.jsonl"], "data.train is 'nowhere.jsonl'; there is no such file", "2 of 2"),
    (["model.path=nowhere,nothing"], "model.path is nowhere, which does not exist", "2 of 2"),
    (["seed=interval(0,3)"], "seed=interval(0,3) is an interval", "hydra/sweeper=optuna"),
    (["seed=0,1", "hydra/launcher=jobli"], "hydra/launcher is 'jobli'", "basic"),
    (["seed=0,1", "hydra.sweep.dri=x"], "hydra.sweep.dri is no setting", "'hydra.sweep.dir'"),
]


@pytest.mark.parametrize(("arguments", "named", "way_out"), WRONG, ids=[" ".join(case[0]) for case in WRONG])
def test_a_combination_that_cannot_be_used_stops_the_sweep_before_any_work(
    terminal: Any, arguments: list[str], named: str, way_out: str
) -> None:
    answer = terminal.sweep(*arguments)
    assert answer.status == 2 and answer.output == ""
    assert named in answer.errors and way_out in answer.errors, answer.errors
    assert not any(terminal.folder.iterdir())


def test_what_is_for_sweeps_alone_is_refused_without_one(terminal: Any) -> None:
    answer = terminal.sweep("hydra/sweeper=optuna", f"hydra.run.dir={terminal.folder / 'run'}", flags=())
    assert answer.status == 2 and "hydra/sweeper is 'optuna'" in answer.errors and "compress -m" in answer.errors
    assert not any(terminal.folder.iterdir())


def test_a_sweep_that_is_stopped_says_what_had_ended(terminal: Any) -> None:
    how = "stages.ends.how=well,interrupted,better"
    answer = terminal.sweep(how)
    assert answer.status == 130 and "stopped; the same command goes on" in answer.errors
    assert "Traceback" not in answer.errors
    assert terminal.endings() == ["exported", "interrupted", "not started"]
    assert terminal.record()["status"] == 130
    Path("mended").touch()
    assert terminal.sweep(how).status == 0
    assert terminal.endings() == ["exported"] * 3
    assert terminal.ledger(0)[-1]["reused"] and not terminal.ledger(1)[-1]["reused"]


def test_two_sweeps_do_not_share_a_folder(terminal: Any) -> None:
    from filelock import FileLock

    (terminal.folder / "sweep").mkdir()
    with FileLock(terminal.folder / "sweep" / ".lock"):
        answer = terminal.sweep("seed=0,1")
    assert answer.status == 2 and "in use by a sweep that is still alive" in answer.errors


def test_the_worst_status_is_what_a_user_should_look_at_first() -> None:
    assert worst([]) == 0
    assert worst([0, 3, 0]) == 3
    assert worst([3, 2, 0]) == 2
    assert worst([2, 1, 3]) == 1
    assert worst([1, 130, 2]) == 130
