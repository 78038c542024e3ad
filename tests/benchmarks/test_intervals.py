"""A small run of the simulation of intervals: the large one is benchmarks/results/intervals.json."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.core.metric import Metric

PATH = Path(__file__).parents[2] / "benchmarks" / "intervals.py"
SPEC = importlib.util.spec_from_file_location("intervals", PATH)
assert SPEC is not None and SPEC.loader is not None
intervals = importlib.util.module_from_spec(SPEC)
# Its data classes look their own module up.
sys.modules["intervals"] = intervals
SPEC.loader.exec_module(intervals)
TRIALS = 60


@pytest.mark.parametrize(
    ("metric", "draw"),
    [pytest.param(metric, draw, id=f"{metric.name} {kind}") for metric, draw, kind in intervals.DRAWS],
)
def test_what_lies_at_the_margin_passes_seldom(metric: Metric, draw: Any) -> None:
    case = intervals.Case(metric, draw, intervals.ALONE)
    loss = intervals.fitted(case, 3, examples=20_000)
    margin = -intervals.truth(case, loss / 2, 3, examples=20_000)
    passed = intervals.share_passed(case, loss / 2, margin, 300, TRIALS, np.random.default_rng(5))
    # 5% of 60 are 3; ten are four standard errors more.
    assert passed <= 10 / TRIALS


def test_the_recorded_run_keeps_what_is_promised() -> None:
    rows = json.loads(intervals.RESULTS.read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 3 * len(intervals.DRAWS)
    # Two standard errors more than 5% of 600 trials, and less than 80% of 300.
    assert all(row["passed_at_margin"] <= 0.068 for row in rows)
    assert all(row["power"] is None or row["power"] >= 0.753 for row in rows)
    # Where there are too few things to find, an equal model passes as seldom as one at the margin, and so it must be.
    assert all(row["power"] is not None for row in rows if "rare" not in row["case"] and row["metric"] != "macro_f1")
