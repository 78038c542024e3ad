"""The default recipe on the tiny model, from an objective to an export, through the command line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.cli.commands.run import main
from compress.core.latency_table import LatencyTable
from compress.core.recipe import Measurement
from compress.measure import latency_table
from compress.nn.family import layers_of

# The tiny model is calls and little else: more than twice its speed is out of reach on some machines.
SPEEDUP = 1.2
ORDER = ["distill", "prune", "factorize", "fuse", "quantize"]
SMALL = (
    "data.max_length=16",
    "device=cpu",
    "runtime.threads=1",
    "measurement.launches=1",
    "measurement.rounds=2",
    "measurement.examples=4",
    "stages.distill.epochs=1",
    "stages.distill.imitation.shortest_epoch=1",
    "stages.prune.recovery_epochs=1",
    "stages.prune.imitation.shortest_epoch=1",
    "stages.prune.importance.examples=16",
    "stages.factorize.calibration_examples=8",
    *(f"gates.{stage}.on_failure=warn" for stage in ORDER),
)


# Milliseconds of the teacher, and what share of the processors others took. Against 0.2 nothing is fast enough.
TABLES = ((0.2, 0.5), (0.2, 0.4), (20.0, 0.0))


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path, examples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is typed. The table's turns are short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(latency_table, "TURNS", Measurement(examples=8, launches=1, rounds=3, warmup=2))
    command = ["-cn", "text_classification", f"model.path={checkpoint}", f"data.train={examples}", "store=store"]
    monkeypatch.setattr(
        sys, "argv", ["compress", *command, "hydra.run.dir=run", f"objective.speedup={SPEEDUP}", *SMALL]
    )
    return tmp_path


def run(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The ledger and the summary of a run that exported something."""
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    rows = [json.loads(line) for line in (folder / "run" / "ledger.jsonl").read_text("utf-8").splitlines()]
    return rows, json.loads((folder / "run" / "summary.json").read_text("utf-8"))


def test_from_an_objective_to_an_export_and_nothing_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, summary = run(folder)
    assert [row["stage"] for row in rows] == ["teacher", *ORDER]
    by_stage = {row["stage"]: row for row in rows}
    assert any("of 4 layers: at " in note for note in by_stage["distill"]["notes"])
    predicted = [note for note in by_stage["prune"]["notes"] if note.startswith("predicted: ")]
    assert len(predicted) == 1 and "times the teacher's speed" in predicted[0]
    # It is of the model in the end, as long as no product became two: what is measured there is compared with it.
    said = float(predicted[0].partition("the stages to come, ")[2].partition(" times")[0])
    assert not any("is two products" in row for table in by_stage["factorize"]["tables"] for row in table["rows"])
    assert by_stage["quantize"]["predicted_speedup"] == pytest.approx(said, abs=0.05)
    assert "the last layer computes only the first token" in by_stage["fuse"]["notes"]
    assert summary["settings"]["stages"]["prune"]["target_speedup"] == SPEEDUP
    assert summary["objective"] == {
        "speedup": SPEEDUP,
        "reached": by_stage[summary["student"]["stage"]]["speedup"],
        "max_accuracy_drop": 0.01,
    }
    page = (folder / "run" / "report.html").read_text("utf-8")
    assert "times the teacher" in page and ("Asked for" in page or "was not reached" in page)

    # Distillation, with ReLU to come, and pruning, with ReLU in place, read the same table.
    (made,) = (path for path in (folder / "store" / "latency-tables").iterdir() if not path.name.startswith("."))
    facts = json.loads((made / "manifest.json").read_text("utf-8"))["facts"]
    table = LatencyTable.from_json(facts)
    assert (sorted(table.attention), sorted(table.ffn)) == ([0, 1, 2, 4], [0, 8, 32, 64])
    # What was kept is what was predicted to be fast enough.
    student = compress.load(folder / "store" / "artifacts" / by_stage["prune"]["artifact"])
    kept = [(layer.heads, layer.neurons) for layer in layers_of(student)]
    assert table.predict(kept) <= table.teacher / SPEEDUP

    def again(*arguments: Any, **more: Any) -> None:
        raise AssertionError("something was done again")

    monkeypatch.setattr("compress.pipeline.made.latency_tables.measure_table", again)
    monkeypatch.setattr("transformers.Trainer.train", again)
    shutil.rmtree(folder / "run")
    second, _ = run(folder)
    assert all(row["reused"] for row in second)
    same = ("stage", "artifact", "verdict", "accuracy", "latency_ms_p50", "speedup", "notes")
    assert [[row[name] for name in same] for row in second] == [[row[name] for name in same] for row in rows]


def test_a_table_of_a_busy_machine_does_not_refuse_what_a_quiet_one_allows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = {0: 0.1, 1: 1.0, 4: 2.0}, {0: 0.1, 8: 1.0, 64: 2.0}
    last = {0: 0.01, 1: 0.1, 4: 0.2}, {0: 0.01, 8: 0.1, 64: 0.2}
    left = [LatencyTable(teacher, 0.1, *curve, *last, foreign_share=share) for teacher, share in TABLES]
    monkeypatch.setattr("compress.pipeline.made.latency_tables.measure_table", lambda *_, **__: left.pop(0))
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2 and "times the teacher's speed. Ask for less" in capsys.readouterr().err
    # Measured twice, and disturbed both times: what is kept there is asked once more.
    assert len(left) == 1
    shutil.rmtree(folder / "run")
    rows, _ = run(folder)
    assert left == [] and not any("layers were timed" in note for row in rows for note in row["notes"])


def test_ranks_have_a_table_of_their_own_and_the_rest_of_the_order_takes_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two layers take 0.1 + 4 + 0.4 of 20; six times the speed leaves 3.2.
    curve = {0: 0.1, 1: 1.0, 4: 2.0}, {0: 0.1, 8: 1.0, 64: 2.0}
    last = {0: 0.01, 1: 0.1, 4: 0.2}, {0: 0.01, 8: 0.1, 64: 0.2}
    saved = {"attention_output": {2: {4: -0.7, 12: -0.6}, 4: {4: -1.3, 12: -1.2}}}
    saved |= {name: {8: {4: -0.3, 12: -0.2}, 64: {4: -0.5, 12: -0.4}} for name in ("ffn_in", "ffn_out")}
    monkeypatch.setattr(
        "compress.pipeline.made.latency_tables.measure_table", lambda *_, **__: LatencyTable(20.0, 0.1, *curve, *last)
    )
    monkeypatch.setattr("compress.pipeline.made.latency_tables.measure_low_rank", lambda *_, **__: (saved, disturbed))
    disturbed = {"foreign_share": 0.5, "disturbed": None}
    asked = ["objective.speedup=6", "stages.prune.ranks=true", "stages.prune.neuron_multiple=4"]
    monkeypatch.setattr(sys, "argv", [*sys.argv, *asked, "stages.factorize.min_saving=0"])
    rows, _ = run(folder)
    by_stage = {row["stage"]: row for row in rows}
    notes = by_stage["prune"]["notes"]
    left = by_stage["prune"]["tables"][-1]["rows"]
    (thin,) = [f"bert.encoder.layer.{row[0]}" for row in left if "attention_output" in row[-1]]
    # The doubt about what was measured while others worked is the worse of the two.
    assert any("layers were timed" in note for note in notes)
    assert not any("layers were timed" in note for note in by_stage["distill"]["notes"])
    tables = [path for path in (folder / "store" / "latency-tables").iterdir() if not path.name.startswith(".")]
    facts = [json.loads((path / "manifest.json").read_text("utf-8"))["facts"] for path in tables]
    assert sorted(sorted(found["low_rank"]) for found in facts) == [[], ["attention_output", "ffn_in", "ffn_out"]]
    # What is thin already is not factorized again, and stays so to the end.
    (looked_at,) = by_stage["factorize"]["tables"]
    assert not any(row[0].startswith(f"{thin}.attention.output") for row in looked_at["rows"])
    for stage in ("prune", "factorize", "fuse", "quantize"):
        structure = json.loads(
            (folder / "store" / "artifacts" / by_stage[stage]["artifact"] / "structure.json").read_text("utf-8")
        )
        assert any(edit["kind"] == "low_rank" for edit in structure["edits"].values())
