"""Tables of pages: written from results files, and the pages that are here say what these say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.render import outside, pages, runs
from benchmarks.render.table import Column, Table

ROW = {
    "stage": "teacher",
    "metric": "entity_f1",
    "metric_title": "entity F1",
    "metric_unit": "share",
    "verdict": "baseline",
    "decision": "keep",
    "entity_f1": 0.905,
    "entity_f1_difference": None,
    "entity_f1_interval": None,
    "latency_ms_p50": 4.0,
    "latency_ms_p90": 5.0,
    "speedup": 1.0,
    "speedup_interval": None,
    "speedup_vs_torch": 2.5,
    "size_bytes": 90_000_000,
    "parameters": 10,
    "nonzero_parameters": 10,
    "seconds": 1.0,
}
STUDENT = {
    **ROW,
    "stage": "quantize",
    "verdict": "passed",
    "entity_f1": 0.9,
    "entity_f1_difference": -0.005,
    "entity_f1_interval": [-0.009, -0.001],
    "speedup": 8.0,
    "speedup_interval": [7.5, 8.5],
    "speedup_vs_torch": 20.0,
    "latency_ms_p50": 0.5,
    "latency_ms_p90": 0.625,
    "size_bytes": 15_000_000,
}
RESULT = {
    "command": "compress -cn token_classification",
    "date": "2026-11-29",
    "machine": {"cpu": "A", "cpu_flags": ["avx2"], "threads": 2},
    "versions": {"torch": "2.13.0", "onnxruntime": "1.31.1", "numpy": "2"},
    "seconds": 600,
    "objective": {"speedup": 10.0},
    "rows": [ROW, STUDENT],
    "teacher": {"test": {"entity_f1": 0.91, "examples": 1200}},
    "student": {
        "test": {"entity_f1": 0.9, "difference": -0.01, "interval": [-0.0185, -0.002], "examples": 1200},
    },
    "exported": {"stage": "quantize", "proven": True},
}


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.relative_to(pages.ROOT).as_posix())
def test_a_page_says_what_the_results_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert pages.rendered(text) == text, "run `make docs`"


def test_a_run_as_a_table() -> None:
    head, _, teacher, student = runs.stages(RESULT).splitlines()
    assert [cell.strip() for cell in head.split("|")[1:5]] == [
        "stage",
        "entity F1",
        "against the teacher, points",
        "p50 / p90, ms",
    ]
    assert [cell.strip() for cell in teacher.split("|")[1:4]] == ["teacher", "90.5%", ""]
    assert [cell.strip() for cell in student.split("|")[1:-1]] == [
        *("quantize", "90.0%", "-0.5 [-0.9, -0.1]", "0.500 / 0.625"),
        *("8.00 [7.50, 8.50]", "20.0", "15.0", "passed"),
    ]


def test_a_run_in_sentences() -> None:
    assert runs.outcome(RESULT) == (
        "On the test split, read once (1,200 examples): teacher 91.0%, student 90.0%, difference "
        "-1.00 [-1.85, -0.20] points. **8.00 [7.50, 8.50] times faster** (10 were asked for), **6.0 times smaller**. "
        "Measured on 2026-11-29 in 10 min 00 s with 2 threads of A (avx2), torch 2.13.0, onnxruntime 1.31.1, by "
        "`compress -cn token_classification`."
    )


def test_only_what_stands_between_the_comments_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tagger.json").write_text(json.dumps(RESULT), encoding="utf-8")
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    page = "before\n<!-- results: stages tagger -->\n| 99 times |\n<!-- end of results -->\nafter <!-- results: x -->\n"
    before, table, after = pages.rendered(page).partition(runs.stages(RESULT))
    assert before == "before\n<!-- results: stages tagger -->\n\n" and table
    assert after == "\n\n<!-- end of results -->\nafter <!-- results: x -->\n"
    assert pages.rendered(before + table + after) == before + table + after


def test_results_are_outdated_when_their_code_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modules = ["compress.methods.distill.layers"]
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    for name, sources in {"same": record.digest(modules), "other": "0" * 16}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"modules": modules, "sources": sources}), encoding="utf-8")
    assert [name for name, _ in pages.outdated()] == ["other"]


def test_the_modules_of_a_run_are_those_of_its_settings() -> None:
    settings = {
        "task": {"_target_": "compress.tasks.text_classification.TextClassification", "text": "text"},
        "stages": {"a": {"importances": [{"_target_": "compress.methods.importance.fisher.Fisher"}]}},
        "other": {"_target_": "their.Stage"},
    }
    found = list(record.modules_in(settings))
    assert found == ["compress.tasks.text_classification", "compress.methods.importance.fisher"]


def test_a_run_that_did_not_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has not ended"):
        record.found(tmp_path, "compress")


def test_what_came_of_damaged_files() -> None:
    counts = {"tried": 1500, "refused": 1200, "wrong": 0, "hung": 1, "foreign": 2}
    told = {
        "date": "2026-11-30",
        "longest_s": 10,
        "release": {"torch": "2.13.0"},
        "kinds": {"exports": counts, "teachers": {**counts, "hung": 0, "foreign": 0}},
    }
    lines = outside.fuzz(told).split("\n")
    assert lines[0] == "2026-11-30, at most 10 s each; torch 2.13.0."
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:]]
    assert cells == [
        ["exports", "1,500", "1,200", "297", "0", "1", "2"],
        ["teachers", "1,500", "1,200", "300", "0", "0", "0"],
        ["**all**", "3,000", "2,400", "597", "0", "1", "2"],
    ]


def test_a_column_finds_its_values_and_writes_them() -> None:
    table = Table(
        Column("name", "name"),
        Column("ratio", "speed.times, speed.interval", "{0:.2f} [{1[0]:.2f}, {1[1]:.2f}]"),
        Column("MB", "bytes", lambda count: f"{count / 1e6:.1f}"),
        Column("double", lambda row: 2 * row["bytes"], "{:,}"),
        rows="found",
        above=lambda result: result["date"],
    )
    rows = [
        {"name": "a", "speed": {"times": 2.0, "interval": [1.5, 2.5]}, "bytes": 1_500_000},
        {"name": "b", "speed": {"times": 3.0, "interval": None}, "bytes": 500},
    ]
    assert table({"date": "2026-11-26", "found": rows}) == (
        "2026-11-26\n\n"
        "| name | ratio             | MB  | double    |\n"
        "| ---- | ----------------- | --- | --------- |\n"
        "| a    | 2.00 [1.50, 2.50] | 1.5 | 3,000,000 |\n"
        "| b    |                   | 0.0 | 1,000     |"
    )


def test_a_value_that_is_null_is_an_empty_cell_and_one_that_is_missing_an_error() -> None:
    row = {"worth": None, "real": {"labels": 3}}
    assert Table(Column("worth", "worth"), Column("worth", "worth.alone"), Column("labels", "real.labels")).cells(
        row
    ) == [
        *("", "", "3"),
    ]
    assert Column("seconds", "seconds", optional=True).cell(row) == ""
    with pytest.raises(KeyError, match="seconds"):
        Column("seconds", "seconds").cell(row)
