"""What is found in folders: each run once, whole or not, and what to paste to make it again."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest

from compress.core.blame import Blame
from compress.core.errors import InputError
from compress.report.sweep.runs import Run, find_runs, flat

from .conftest import MakeRun, line, measured


def test_each_run_is_found_once_job_ten_after_job_nine(make_run: MakeRun, tmp_path: Path) -> None:
    for name in ("10", "9", "deep/er/0"):
        make_run(name, [line("prune")])
    inside = make_run("2", [])
    (inside / "export").mkdir()
    (inside / "export" / "ledger.jsonl").write_text("a copy inside a run is no run", encoding="utf-8")
    found = find_runs([tmp_path / "sweep", tmp_path / "sweep" / "9"])
    assert [run.name for run in found] == ["2", "9", "10", "deep/er/0"]


def test_folders_of_different_places_are_told_apart_by_their_paths(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("monday/0", [])
    make_run("tuesday/0", [])
    found = find_runs([tmp_path / "sweep" / "tuesday", tmp_path / "sweep" / "monday"])
    assert [run.name for run in found] == ["monday/0", "tuesday/0"]


def test_a_torn_last_line_is_read_up_to_and_told(runs: list[Run]) -> None:
    assert [row.stage for row in runs[5].rows] == ["teacher", "prune"]
    assert runs[5].damage == ("line 3 of ledger.jsonl, its last line, is torn: read up to there",)
    assert all(run.damage == () for run in runs[:5])


@pytest.mark.parametrize("bad", ["{", "[1]", '{"stage": "prune"}', "\ufffd"])
def test_a_damaged_line_in_the_middle_ends_the_reading(bad: str, make_run: MakeRun) -> None:
    folder = make_run("0", [line("prune"), line("quantize")])
    lines = (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "ledger.jsonl").write_text("\n".join([lines[0], bad, *lines[2:]]), encoding="utf-8")
    run = find_runs([folder])[0]
    assert [row.stage for row in run.rows] == ["teacher"]
    assert run.damage == ("line 2 of ledger.jsonl, of 3, cannot be read: read up to there",)


def test_lines_of_other_versions_are_read(make_run: MakeRun) -> None:
    run = find_runs([make_run("0", [line("prune", advice="a field of tomorrow", reasons=None)])])[0]
    assert run.rows[1].reasons == () and run.rows[1].speedup is None


def test_blame_is_read_where_it_is_known(make_run: MakeRun) -> None:
    blame = Blame(notes=("the reason",))
    lines = [line("prune", blame=dataclasses.asdict(blame)), line("quantize", blame={"of": "another version"})]
    assert [row.blame for row in find_runs([make_run("0", lines)])[0].rows[1:]] == [blame, None]


def test_a_damaged_summary_makes_the_run_unfinished_not_the_report(make_run: MakeRun) -> None:
    folder = make_run("0", [])
    (folder / "summary.json").write_text('{"exported": {"sta', encoding="utf-8")
    run = find_runs([folder])[0]
    assert run.summary is None and run.damage == ("summary.json cannot be read",)


def test_settings_without_a_summary_leave_out_what_refers_to_others(make_run: MakeRun) -> None:
    gates = {"gates": {"prune": {"max_accuracy_drop": "${objective.max_accuracy_drop}"}}, "order": ["prune"]}
    run = find_runs([make_run("0", [], finished=False, settings=gates)])[0]
    assert run.settings == {"objective.max_accuracy_drop": "0.01", "order": '["prune"]'}


def test_settings_by_full_name() -> None:
    told = flat({"stages": {"prune": {"heads": 0.5, "scope": "model", "keep": None}}, "seed": 0})
    assert told == {
        "stages.prune.heads": "0.5",
        "stages.prune.scope": "model",
        "stages.prune.keep": "null",
        "seed": "0",
    }


def test_the_command_is_ready_for_a_shell(runs: list[Run]) -> None:
    assert runs[0].command is not None
    assert shlex.split(runs[0].command) == [
        "cd", "/data/my news", "&&", "compress", "-cn", "mine", "stages.prune.heads=0.75",
        "stages.quantize.scheme=static", 'data.train="my file.csv"',
    ]  # fmt: skip


def test_a_recipe_folder_of_the_users_own_is_in_the_command(make_run: MakeRun) -> None:
    folder = make_run("0", [])
    sources = [{"path": "hydra.conf", "provider": "hydra"}, {"path": "/my/recipes", "provider": "command-line"}]
    hydra = {"hydra": {"job": {"config_name": "mine"}, "runtime": {"config_sources": sources}}}
    (folder / ".hydra" / "hydra.yaml").write_text(json.dumps(hydra), encoding="utf-8")
    assert find_runs([folder])[0].command == "compress -cd /my/recipes -cn mine"


def test_a_run_from_python_has_no_command(make_run: MakeRun) -> None:
    folder = make_run("0", [])
    for path in (folder / ".hydra").iterdir():
        path.unlink()
    assert find_runs([folder])[0].command is None


def test_a_job_that_was_refused_is_found_by_its_outcome_or_its_sweep(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("0", [])
    (tmp_path / "sweep" / "1").mkdir()
    refused = {"ending": "refused", "reason": "heads is 7"}
    (tmp_path / "sweep" / "1" / "outcome.json").write_text(json.dumps(refused), encoding="utf-8")
    lost = {"folder": "2", "ending": "lost", "reason": "its process left no result", "settings": {"heads": 9}}
    jobs = [{"folder": "0", "ending": "exported"}, {"folder": "1", **refused}, {**lost, "command": "compress heads=9"}]
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps({"jobs": jobs}), encoding="utf-8")
    found = find_runs([tmp_path / "sweep"])
    assert [(run.name, run.ending, run.reason) for run in found] == [
        ("0", None, None),
        ("1", "refused", "heads is 7"),
        ("2", "lost", "its process left no result"),
    ]
    assert found[2].settings == {"heads": "9"} and found[2].command == "compress heads=9"


def test_folders_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"FOLDER is .*/no, which is no folder here\. Give one"):
        find_runs([tmp_path / "no"])
    with pytest.raises(InputError, match=r"which holds no run: no ledger\.jsonl lies in it or below\. Give the folder"):
        find_runs([tmp_path])


def test_a_link_in_a_circle_ends(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("0", [line("prune", **measured(-0.001, 2.0, 60.0, "p"))])
    (tmp_path / "sweep" / "again").symlink_to(tmp_path / "sweep")
    assert [run.name for run in find_runs([tmp_path / "sweep"])] == ["0"]
