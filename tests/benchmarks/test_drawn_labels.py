"""A small run of the simulation, the real one on a folder whose labels are known, and what the recorded one keeps."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import drawn_labels as bench
from compress.deploy.labelling.sheet import Drawn, write_sheet
from compress.measure.drawn_labels import Pool


def test_a_student_loses_as_much_as_is_said() -> None:
    case = bench.Case(2000, 0.05, labels=10_000)
    found = list(bench.outcomes(case, 0.01, 40, np.random.default_rng(1)))
    assert np.mean([(low + high) / 2 for low, high, _ in found]) == pytest.approx(-0.01, abs=0.002)
    assert np.mean([labels for _, _, labels in found]) == pytest.approx(100, abs=5)


def test_the_real_one_finds_the_difference_that_it_was_given(tmp_path: Path) -> None:
    """Of 2,000 texts 60 are answered differently; the student is right about 20 of them, and the teacher about 40."""
    names, texts = ["a", "b"], [f"text {number}" for number in range(60)]
    drawn = Drawn(
        run="run",
        artifact="0",
        texts="texts",
        seen=0,
        pool=Pool(2000, 2000, 60, 60, 1940),
        groups=list(range(60)),
        sizes=[1] * 60,
        teacher=["a"] * 60,
        student=["b"] * 60,
        names=names,
        margin=0.01,
        confidence=0.95,
    )
    write_sheet(tmp_path / "sheet", drawn, {"text": texts})
    rows = [{"text": text, "label": "b" if number < 20 else "a"} for number, text in enumerate(texts)]
    truth = tmp_path / "truth.jsonl"
    truth.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = bench.real(tmp_path / "sheet", truth, trials=200)
    assert found["difference"] == pytest.approx(-20 / 2000)
    assert (found["texts"], found["differing"]) == (2000, 60)
    # Of the drawn ones alone, which the interval is to hold with at least 90%; it is made for all texts of the kind.
    assert found["holds"] >= 0.9


def test_the_recorded_run_keeps_what_is_promised() -> None:
    told = json.loads((bench.RESULTS / "drawn_labels.json").read_text(encoding="utf-8"))
    assert len(told["rows"]) == len(bench.CASES)
    error = (0.05 * 0.95 / told["trials"]) ** 0.5
    for row in told["rows"]:
        assert row["passed_at_margin"] <= 0.05 + 3 * error, row
