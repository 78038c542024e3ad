"""A small run of the simulation, and what the recorded one has to keep."""

import json

import numpy as np
import pytest

from benchmarks import prediction_powered as bench
from benchmarks.prediction_powered_real import resampled


def test_the_student_at_the_margin_is_a_point_worse() -> None:
    loss, alike = bench.at_margin(1)
    # Answers at random are right one time of four, the others 0.85: a point takes about 1.7% of them.
    assert 0.012 < loss < 0.025
    assert abs(alike) < 0.002
    other = bench.draw(bench.Case("too sure", "", 100, 1), np.arange(100_000), np.random.default_rng(5), loss)
    assert other.truth - alike == pytest.approx(-0.01, abs=0.002)


@pytest.mark.parametrize("teacher", ["calibrated", "too sure", "meaningless"])
def test_what_lies_at_the_margin_passes_seldom(teacher: bench.Teacher) -> None:
    loss, truth = bench.at_margin(1)
    case = bench.Case(teacher, "", 300, 1)
    found = bench.share(case, loss, 60, np.random.default_rng(7), truth)
    # 5% of 60 are 3; ten are four standard errors more.
    assert found["passed"] <= 10 / 60


def test_much_harder_texts_are_refused() -> None:
    case = bench.Case("calibrated", "", 1000, 1, shift=0.7)
    found = bench.share(case, 0.0, 10, np.random.default_rng(7), 0.0)
    assert found["refused"] == 1.0 and found["worth"] is None


def test_few_labels_of_many_by_resampling() -> None:
    drawn = bench.draw(bench.Case("calibrated", "", 3000, 1), np.arange(3000), np.random.default_rng(1), 0.05)
    found = resampled(drawn.labels, drawn.teacher, drawn.student, np.ones(3000), labels_shown=300, draws=40)
    assert (found["labels"], found["texts"]) == (300, 2700)
    assert found["covered"] >= 0.8 and 0.5 < found["width"] < 1.05
    assert found["worth"] == pytest.approx(found["width"] ** -2)


def test_the_recorded_run_keeps_what_is_promised() -> None:
    told = json.loads(bench.RESULTS.read_text(encoding="utf-8"))
    assert len(told["rows"]) == len(list(bench.cases())) and len(told["shifted"]) == len(bench.SHIFTS)
    at_margin = [row["passed_at_margin"]["with_texts"] for row in told["rows"]]
    # Three standard errors more than 5% of each case's drawings, and of all drawings together.
    error = (0.05 * 0.95 / told["trials"]) ** 0.5
    assert max(at_margin) <= 0.05 + 3 * error
    assert np.mean(at_margin) <= 0.05 + 3 * error / len(at_margin) ** 0.5
    # The first of the shifted ones is not; the last is always seen.
    assert told["shifted"][0]["refused"] <= 0.1 and told["shifted"][-1]["refused"] == 1.0
