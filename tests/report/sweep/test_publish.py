"""What a sweep's end does: a page in its folder, and the same in the terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from compress.report.sweep import publish
from compress.report.sweep.runs import Run


def test_a_sweep_publishes_its_page_and_prints_the_front(runs: list[Run], tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=120)
    path = publish(tmp_path / "sweep", console)
    assert path == tmp_path / "sweep" / "report.html" and path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.startswith("mine: 6 runs: 2 passed, 1 unproven, 1 nothing passed, 1 broke, 1 unfinished\n")
    # Fastest first.
    front = [line for line in text.splitlines() if line.startswith(("speed", "bytes"))]
    assert [speed in line for line, speed in zip(front, ("6.00 [", "4.00 [", "3.00 ["), strict=True)] == [True] * 3
    for phrase in (
        "note: 5: line 3 of ledger.jsonl, its last line, is torn: read up to there",
        "Take run 1 (heads 0.75, scheme dynamic)",
        "cd '/data/my news' && compress -cn mine stages.prune.heads=0.75 stages.quantize.scheme=dynamic",
        "4: broke: error, stopped: at stage quantize, it broke: the loss is not finite",
    ):
        assert phrase in text, phrase


def test_publishing_again_changes_nothing(runs: list[Run], tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=120)
    first = publish(tmp_path / "sweep", console).read_text(encoding="utf-8")
    assert publish(tmp_path / "sweep", console).read_text(encoding="utf-8") == first
