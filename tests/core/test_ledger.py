"""One JSON line per row, on the disk before the next."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from compress.core.blame import Advice, Blame, Restored, Slice
from compress.core.evaluation import Disturbance, PredictionPowered
from compress.core.fact_table import FactTable
from compress.core.ledger import Ledger, Row
from compress.core.metric import ACCURACY, SHARE, Label

ROW = Row(
    stage="prune", artifact="a1", verdict="passed", reasons=("größer", "second\nline"), decision="keep",
    value=0.9, difference=-0.01, interval=(-0.02, 0.0), latency_ms_p50=1.5, latency_ms_p90=2.5,
    speedup=2.0, speedup_interval=(1.9, 2.1), speedup_vs_torch=3.0, size_bytes=10, parameters=5, nonzero_parameters=4,
    bytes_by_part={"ffn": 10}, seconds=1.0, reused=False, notes=("a note",),
)  # fmt: skip


def test_a_line_for_each_row(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.append(ROW) is ROW
    first = (tmp_path / "ledger.jsonl").read_text(encoding="utf-8")
    ledger.append(dataclasses.replace(ROW, stage="quantize", value=None))
    lines = (tmp_path / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    assert first.count("\n") == 1
    assert "größer" in first
    assert [json.loads(line)["stage"] for line in lines] == ["prune", "quantize"]
    assert json.loads(lines[0])["accuracy_interval"] == [-0.02, 0.0]
    assert json.loads(lines[1])["accuracy"] is None
    assert [row.stage for row in ledger.rows] == ["prune", "quantize"]


def test_blame_comes_back_and_an_earlier_release_has_none(tmp_path: Path) -> None:
    blame = Blame(
        slices=(Slice("class", "tech", 640, 0.9, -0.02, (-0.03, -0.01), True),),
        compared=9,
        restored=(Restored("a.b", 0.6, 0.01),),
        examples=128,
        divergence_before=0.0,
        divergence=0.01,
        advice=Advice(("stages.quantize.keep_float=[a.b]",), 3.1, 1.0, 0.6),
        notes=("a note",),
    )
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(dataclasses.replace(ROW, blame=blame))
    ledger.append(ROW)
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    assert Blame.from_json(lines[0]["blame"]) == blame
    assert lines[1].pop("blame") is None
    assert Row.from_json(lines[0]) == dataclasses.replace(ROW, blame=blame)
    assert Row.from_json(lines[1]) == ROW


def test_another_metric_names_its_own_fields() -> None:
    told = dataclasses.replace(
        ROW, metric=Label("entity_f1", "entity F1", SHARE), findings=("entity A: none",)
    ).to_json()
    assert (told["metric"], told["entity_f1"], told["entity_f1_difference"]) == ("entity_f1", 0.9, -0.01)
    assert told["entity_f1_interval"] == (-0.02, 0.0) and "accuracy" not in told
    assert Row.from_json(json.loads(json.dumps(told))).to_json() == told


def test_a_line_of_an_earlier_release_is_about_accuracy() -> None:
    row = Row.from_json({"stage": "prune", "verdict": "passed", "decision": "keep", "accuracy": 0.9, "gone": 1})
    assert (row.metric, row.value, row.accuracy, row.difference) == (ACCURACY, 0.9, 0.9, None)
    assert (row.reasons, row.notes, row.findings, row.missed, row.tables) == ((), (), (), (), ())
    assert row.figures == {} == row.spent


@pytest.mark.parametrize("name", ["stage", "verdict", "decision"])
def test_a_line_says_at_least_what_was_done_and_decided(name: str) -> None:
    told = {key: value for key, value in ROW.to_json().items() if key != name}
    with pytest.raises(ValueError, match=f"^{name} is None"):
        Row.from_json(told)


def test_what_is_written_of_a_number_is_text() -> None:
    assert Row.from_json({**ROW.to_json(), "reasons": ["a", 1]}).reasons == ("a", "1")


@pytest.mark.parametrize("blame", [{}, {"slices": 1}, [1]])
def test_blame_that_another_version_wrote_otherwise_is_none(blame: object) -> None:
    assert Row.from_json({**ROW.to_json(), "blame": blame}) == ROW


def test_an_earlier_ledger_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text('{"stage": "old"}\n', encoding="utf-8")
    Ledger(tmp_path / "ledger.jsonl")
    assert (tmp_path / "ledger.jsonl").read_text(encoding="utf-8") == ""


def test_tables_come_back_and_an_earlier_release_has_none(tmp_path: Path) -> None:
    table = FactTable.of("Ranks", [("matrix", "text"), ("rank", "count")], [("a.b", 16), ("a.c", None)])
    Ledger(tmp_path / "ledger.jsonl").append(dataclasses.replace(ROW, tables=(table,)))
    told = json.loads((tmp_path / "ledger.jsonl").read_text(encoding="utf-8"))
    assert told["tables"] == [
        {"title": "Ranks", "columns": [["matrix", "text"], ["rank", "count"]], "rows": [["a.b", 16], ["a.c", None]]}
    ]
    assert Row.from_json(told).tables == (table,)
    del told["tables"]
    assert Row.from_json(told).tables == ()


def test_a_disturbance_comes_back_and_an_earlier_release_has_none() -> None:
    busy = Disturbance(30, 36, 20, 0.55, 19.1, (16.8, 21.7))
    row = dataclasses.replace(ROW, speedup=None, speedup_interval=None, disturbance=busy)
    told = json.loads(json.dumps(row.to_json()))
    assert told["speedup"] is None and told["disturbance"]["speedup"] == 19.1
    assert Row.from_json(told) == row
    # A ledger of before there was such a thing.
    del told["disturbance"], told["predicted_speedup"]
    assert Row.from_json(told) == dataclasses.replace(row, disturbance=None)


@pytest.mark.parametrize("told", [{}, {"rounds": "many"}, {**vars(Disturbance(1, 2, 0, None)), "of": "two"}])
def test_a_disturbance_that_is_none_is_damage(told: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Row.from_json({**ROW.to_json(), "disturbance": told})


@pytest.mark.parametrize(
    ("predicted", "speedup", "interval", "contradicted"),
    [
        (10.5, 19.1, (16.8, 21.7), True),  # what a busy machine had made of a model that is 9.9 times as fast
        (10.5, 9.95, (9.04, 11.0), False),
        (21.1, 20.7, (19.2, 22.4), False),
        (13.0, 10.0, (9.0, 11.0), False),  # 1.3 times: as far apart as may be
        (13.1, 10.0, (9.0, 11.0), True),
        (13.1, 10.0, (6.0, 14.0), False),  # too noisy to contradict anything
        (14.0, 10.0, (6.0, 14.0), False),  # on its end
        (6.0, 10.0, None, True),
        (None, 10.0, (9.0, 11.0), False),
        (10.5, None, None, False),
    ],
)
def test_a_prediction_is_a_second_witness(
    predicted: float | None, speedup: float | None, interval: tuple[float, float] | None, contradicted: bool
) -> None:
    row = dataclasses.replace(ROW, predicted_speedup=predicted, speedup=speedup, speedup_interval=interval)
    assert (row.contradiction is not None) is contradicted
    if contradicted:
        assert f"measured {speedup:.1f} times" in str(row.contradiction)
        assert f"predicted {predicted:.1f}" in str(row.contradiction)


def test_what_texts_did_to_an_interval_comes_back() -> None:
    told = PredictionPowered(12000, 500, None, 0.7, (0.5, 0.4), -0.004, (-0.019, 0.011), 640)
    for found in (told, PredictionPowered(12000, 500, refused="they are unlike the labelled examples")):
        row = dataclasses.replace(ROW, prediction_powered=found)
        line = json.loads(json.dumps(row.to_json()))
        assert Row.from_json(line) == row
    assert json.loads(json.dumps(ROW.to_json()))["prediction_powered"] is None
    line = json.loads(json.dumps(dataclasses.replace(ROW, prediction_powered=told).to_json()))
    del line["prediction_powered"]["worth"]
    with pytest.raises(KeyError):
        Row.from_json(line)
    line["prediction_powered"] |= {"worth": "many"}
    with pytest.raises(ValueError, match="worth"):
        Row.from_json(line)
