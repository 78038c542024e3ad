"""A gate that fails on purpose: the row, the terminal and the page say why, and the run goes on whatever happens."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.core.blame import Blame
from compress.core.errors import NothingPassedError
from compress.pipeline.blame import case

QUICK = (
    *("data.max_length=16", "device=cpu", "runtime.threads=1", "order=[quantize]", "stages.quantize.scheme=static"),
    *("measurement.launches=1", "measurement.rounds=2", "measurement.examples=4"),
    *("stages.quantize.calibration.method=percentile", "stages.quantize.calibration.percentile=60"),
    # No drop at all is allowed: the few examples there are can never prove it.
    *("gates.quantize.max_accuracy_drop=0", "gates.quantize.on_inconclusive=fail"),
)
Run = Callable[..., tuple[list[dict[str, Any]], Path]]


@pytest.fixture
def run(make_model: Callable, tokenizer: Any, make_examples: Callable, tmp_path: Path) -> Run:
    """`run(*overrides)`: the ledger's rows of a run in which quantize does not pass, and its folder."""
    checkpoint, model = tmp_path / "teacher", make_model()
    # Answers as sure as a trained model's, so that rounding moves them.
    model.classifier.weight.data *= 100
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    examples = make_examples(tmp_path / "examples.jsonl", 800)
    given = (f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}", *QUICK)

    def start(*overrides: str) -> tuple[list[dict[str, Any]], Path]:
        folder = tmp_path / "run" / str(len(list((tmp_path / "run").glob("*"))))
        with contextlib.suppress(NothingPassedError):
            compress.run(compress.recipe("text_classification", *given, *overrides), folder)
        lines = (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines], folder

    return start


def test_the_row_says_what_did_it_and_what_to_try(run: Run) -> None:
    rows, folder = run()
    assert rows[0]["blame"] is None
    blame = Blame.from_json(rows[1]["blame"])
    assert len(blame.notes) == 1
    assert blame.notes[0].startswith("so few examples cannot prove this limit even for the teacher against itself: ")
    assert {entry.by for entry in blame.slices} == {"class", "length"}
    assert {entry.name for entry in blame.slices if entry.by == "class"} <= {"cold", "warm"}
    assert blame.divergence_before == pytest.approx(0.0, abs=1e-6)
    assert blame.divergence > 1e-4
    assert len(blame.restored) == 4 * 6 + 2 + 1
    assert [part.recovered for part in blame.restored] == sorted((p.recovered for p in blame.restored), reverse=True)
    (override,) = blame.advice.overrides
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "Why, and what to try" in html
    assert override.replace("'", "&#39;") in html

    # Followed as it stands, the advice leaves those layers in float, and answers move less.
    (typed,) = shlex.split(override)
    again, _ = run(typed)
    kept = typed.partition("=")[2].strip("[]").split(",")
    assert set(kept) <= {part.part for part in blame.restored}
    assert again[1]["artifact"] != rows[1]["artifact"]
    after = Blame.from_json(again[1]["blame"])
    assert not set(kept) & {part.part for part in after.restored}
    assert after.divergence < blame.divergence


def test_what_fusing_named_can_be_typed(run: Run) -> None:
    fused = "order=[fuse,quantize]"
    rows, _ = run(fused)
    assert [row["blame"] is None for row in rows] == [True, True, False]
    (override,) = rows[2]["blame"]["advice"]["overrides"]
    again, _ = run(fused, *shlex.split(override))
    assert again[2]["blame"]["divergence"] < rows[2]["blame"]["divergence"]


def test_what_smoothing_scaled_is_put_back_together(run: Run) -> None:
    rows, _ = run("stages.quantize.smoothing=0.5")
    blame = Blame.from_json(rows[1]["blame"])
    # Four values with the attention outputs that read them.
    assert len(blame.restored) == 4 * 6 + 2 + 1 - 4
    assert sum(" with " in part.part for part in blame.restored) == 4


def test_it_is_found_again_and_can_be_left_out(run: Run) -> None:
    first, folder = run()
    blamed = [path.stat().st_mtime_ns for path in (folder.parents[1] / "store" / "blame").iterdir()]
    second, _ = run()
    assert second[1]["blame"] == first[1]["blame"]
    assert [path.stat().st_mtime_ns for path in (folder.parents[1] / "store" / "blame").iterdir()] == blamed
    left_out, _ = run("blame_seconds=0")
    assert left_out[1]["blame"] is None
    # No part of any key.
    assert left_out[1]["reused"]


def test_what_goes_wrong_in_it_is_a_note(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*values: object, **named: object) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(case, "restore", broken)
    rows, _ = run()
    assert rows[1]["verdict"] == "inconclusive"
    assert rows[1]["blame"]["notes"] == ["what did it was not found out: RuntimeError: no memory left"]
