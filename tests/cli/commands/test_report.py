"""`compress-report` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compress.cli.commands.report import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, validation in enumerate(("a", "a", "b")):
        run = tmp_path / "runs" / str(number)
        run.mkdir(parents=True)
        rows: list[dict[str, Any]] = [
            {"stage": "teacher", "verdict": "baseline", "decision": "keep", "accuracy": 0.9, "size_bytes": 90_000_000},
            {"stage": "quantize", "verdict": "passed", "decision": "keep", "accuracy": 0.9, "accuracy_difference": 0.0,
             "accuracy_interval": [-0.002, 0.002], "speedup": 2.0 + number, "size_bytes": 30_000_000},
        ]  # fmt: skip
        (run / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        summary = {
            "exported": {"stage": "quantize"}, "metric": "accuracy", "examples": {"validation": 900},
            "settings": {"seed": number}, "fingerprints": {"validation": validation},
        }  # fmt: skip
        (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return tmp_path / "runs"


def status(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_page_and_a_summary(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert status(folder / "0", folder / "1", "--out", out, "--margin", "0.01") == 0
    assert out.exists()
    told = capsys.readouterr().out
    assert "Take run 1 (seed 1): 3.00 times the teacher's speed" in told
    assert f"report: {out}" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{runs}/no"], "compress-report: FOLDER is {runs}/no, which is no folder here. Give one"),
        (["{tmp}/empty"], "compress-report: FOLDER is {tmp}/empty, which holds no run"),
        (["{runs}"], "FOLDER holds runs with different validation examples: a in 0, b in 2."),
        (["{runs}/0"], "--margin is not given, and no run records objective.max_accuracy_drop"),
        (["{runs}/0", "--margin", "1.5"], "--margin is 1.5; it must lie in (0, 1]. Use 0.01 for one point."),
        (["{runs}/0", "--margin", "much"], "argument --margin: invalid float value: 'much'"),
        (["{runs}/0", "--out", "{tmp}"], "--out is {tmp}, which is a folder. Name a file: --out {tmp}/report.html"),
        (["{runs}/0", "--out", "{tmp}/no/page.html"], "--out is {tmp}/no/page.html, in a folder that is not there."),
        (["{runs}/0", "--out", "{runs}/0/report.html"], "in a run's own folder, whose page it would replace."),
        (["{runs}/0", "--margn", "0.01"], "unrecognized arguments: --margn 0.01"),
        ([], "the following arguments are required: FOLDER"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(
    arguments: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    filled = [argument.format(runs=folder, tmp=tmp_path) for argument in arguments]
    assert status(*filled) == 2
    assert message.format(runs=folder, tmp=tmp_path) in capsys.readouterr().err
    assert list(tmp_path.rglob("*.html")) == []


def test_what_cannot_be_written_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(folder / "0", "--margin", "0.01", "--out", "/proc/page.html") == 2
    assert "--out is /proc/page.html, which cannot be written" in capsys.readouterr().err
