"""A speed that a busy machine kept from being measured: every place that would show it says so, and none shows it."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compress.core.evaluation import BUSY, Disturbance
from compress.core.ledger import Row
from compress.core.metric import ACCURACY, SHARE, Label
from compress.report.decision import decide
from compress.report.drawing import Drawing
from compress.report.gains import gains_by_stage
from compress.report.limits import shortfall
from compress.report.model_card import write_model_card
from compress.report.page import write_page
from compress.report.sweep.evidence import evidence_of
from compress.report.sweep.page import page_of
from compress.report.sweep.runs import Run
from compress.report.sweep.terminal import print_report
from compress.report.table import StageTable
from compress.report.tracking.follow import _figures_of_student, figures_of, words_of

SEEN = Disturbance(30, 36, 20, 0.55, 19.1, (16.8, 21.7))
NUMBERS = ("19.1", "16.8", "21.7", "2.94")


@pytest.fixture
def busy(rows: list[Row], summary: dict[str, Any]) -> tuple[list[Row], dict[str, Any]]:
    """The run of conftest.py, whose last stage was timed beside others."""
    last = dataclasses.replace(
        rows[-1], speedup=None, speedup_interval=None, speedup_vs_torch=None, latency_ms_p50=None, latency_ms_p90=None,
        disturbance=SEEN, reasons=("accuracy -0.0040 [-0.0090, +0.0010], limit -0.0100", SEEN.told),
    )  # fmt: skip
    summary["exported"].update(proven=False, why=f"the last stage that was kept: it passed its gate; {BUSY}")
    summary["student"].update(
        speedup=None, speedup_interval=None, speedup_vs_torch=None, latency_ms_p50=None, latency_ms_p90=None,
        disturbance=SEEN.to_json(),
    )  # fmt: skip
    return [*rows[:-1], last], summary


def test_the_headline_names_no_speed(busy: tuple[list[Row], dict[str, Any]]) -> None:
    decision = decide(*busy)
    assert decision.headline == (
        "0.30 points less accurate on the test split (interval -0.79 to +0.19), about one fifth of the bytes; "
        "speed not measured: the machine was busy. Unproven."
    )
    assert decision.tone == "unsure"
    assert decision.details == (
        "Unproven: speed not measured: the machine was busy (others made it wait in 30 of 36 rounds, 20 more were "
        "taken again). The accuracy is shown to stay within its limit: 2,000 validation examples place the whole "
        "interval above the limit of -1.00 points.",
        "The test split confirms it: on 2,000 unseen examples the whole interval lies above -1.00 points.",
        "To measure again what was disturbed, and only that, once the machine is quiet: compress -cn "
        "text_classification model.path=teacher measurement.again=true",
    )


def test_a_metrics_name_begins_the_headline_as_it_is_written(busy: tuple[list[Row], dict[str, Any]]) -> None:
    rows, summary = busy
    summary.update(metric="ndcg_at_10", metric_title="nDCG@10", metric_unit="share")
    summary["student"]["test"]["ndcg_at_10"] = 0.9
    label = Label("ndcg_at_10", "nDCG@10", SHARE)
    headline = decide([dataclasses.replace(row, metric=label) for row in rows], summary).headline
    assert headline.startswith("nDCG@10 0.30 points lower on the test split"), headline


def test_what_was_asked_for_is_not_said_to_be_reached(busy: tuple[list[Row], dict[str, Any]]) -> None:
    rows, summary = busy
    summary["objective"] = {"speedup": 10.0, "reached": None, "max_accuracy_drop": 0.01}
    assert decide(rows, summary).details[0] == f"Asked for: 10.0 times the teacher's speed; {BUSY}."


def test_a_limit_on_speed_is_left_open(busy: tuple[list[Row], dict[str, Any]]) -> None:
    rows, summary = busy
    told = shortfall(rows[-1], {**summary["gates"]["quantize"], "min_speedup": 4.0})
    assert told == f"at stage quantize, {SEEN.told}, so whether it reaches its limit of 4.00 is not known"


def test_no_place_shows_what_was_seen(busy: tuple[list[Row], dict[str, Any]], tmp_path: Path) -> None:
    rows, summary = busy
    write_model_card(tmp_path, rows, summary, "import onnxruntime\n")
    plots = Drawing.of(rows, summary).plots()
    write_page(rows, summary, plots, tmp_path / "report.html")
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    shown = {
        "card": (tmp_path / "README.md").read_text(encoding="utf-8"),
        "page": (tmp_path / "report.html").read_text(encoding="utf-8"),
        "words": words_of(rows[-1]),
        **{f"table of {width}": table(rows, width) for width in (80, 140)},
    }
    for place, text in shown.items():
        assert "busy" in text, place
        # Numbers of a plot's path are none that people read.
        read = text.partition("<svg")[0] if place == "page" else text
        assert not [number for number in NUMBERS if number in read], place
    assert not [name for name in figures_of(rows[-1]) if "speed" in name or "latency" in name]
    assert not [name for name in _figures_of_student(tmp_path) if "speed" in name or "latency" in name]
    assert "quantize" not in plots[0].svg.partition("</desc>")[0].partition("against speed")[2].partition("<")[0]


def table(rows: list[Row], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    shown = StageTable(console)
    shown.header(ACCURACY)
    for row in rows[-1:]:
        shown.row(row)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_card_proves_nothing(busy: tuple[list[Row], dict[str, Any]], tmp_path: Path) -> None:
    write_model_card(tmp_path, *busy, "import onnxruntime\n")
    card = " ".join((tmp_path / "README.md").read_text(encoding="utf-8").split())
    assert "How fast it is was not measured, because **the machine was busy**" in card
    assert "**Nothing is proven, because its speed was not measured.** Its accuracy is shown to stay within" in card
    assert "is proven on the validation split" not in card
    assert "| passed, speed open | keep |" in card
    assert "times as fast as the teacher**" not in card


def test_a_stage_after_it_gained_nobody_knows_how_much(
    busy: tuple[list[Row], dict[str, Any]], make_row: Callable[..., Row]
) -> None:
    gains = gains_by_stage(busy[0])
    assert gains[-1].stage == "quantize" and gains[-1].latency_factor is None
    assert gains[-1].change == pytest.approx(0.002)


def test_a_sweep_compares_no_speed_that_was_not_measured(
    busy: tuple[list[Row], dict[str, Any]], rows: list[Row]
) -> None:
    busy_rows, summary = busy
    one = Run(
        name="0", folder=Path("0"), rows=tuple(busy_rows), summary=summary, settings={"a": "1"}, command=None,
        typed=(), ending=None, reason=None, damage=(),
    )  # fmt: skip
    evidence = evidence_of([one], 0.01)
    (standing,) = evidence.standings
    assert (standing.status, standing.busy, standing.drawn) == ("unproven", True, False)
    assert evidence.recommendation.headline == f"Nothing to take yet: {BUSY}."
    assert any("measurement.again=true" in note for note in evidence.notes)
    console = Console(file=io.StringIO(), width=120)
    print_report(evidence, console)
    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), page_of(evidence)):
        assert "busy" in text and "19.1" not in text


def test_a_run_of_an_earlier_release_reads_as_before(rows: list[Row], summary: dict[str, Any]) -> None:
    assert "disturbance" not in summary["student"]
    assert decide(rows, summary).headline.startswith("6.80 times faster")
    assert decide(rows, summary).tone == "good"


def test_a_contradiction_comes_first(rows: list[Row], summary: dict[str, Any]) -> None:
    rows[-1] = dataclasses.replace(rows[-1], predicted_speedup=3.5)
    assert (
        decide(rows, summary)
        .details[0]
        .startswith("Measured 6.8 times the teacher's speed, and the latency table predicted 3.5")
    )
