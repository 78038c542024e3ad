"""Thousands of damaged and hostile files: each is refused by an error of ours, or gives what the whole one gives.

A short run is part of the tests. `make fuzz` draws FUZZ_EXAMPLES of each kind, and writes to FUZZ_RESULTS how many were
tried and how many of them refused: of the others each was what the whole one is, or the run would have failed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from rich.console import Console
from transformers import AutoTokenizer

import compress
from compress.core.manifest import write_manifest
from compress.methods.teachers.folder import FolderTeacher
from compress.nn.checkpoint import load_model, save_model
from compress.report.sweep import publish
from compress.tasks.text_classification import TextClassification

from .harness import RefusedError, as_before, counted, damaged, draws, fuzz
from .mutations import mutated

TASK = TextClassification(text="text", label="label", max_length=16)
TEXT = "kas kat kan kam kar los lot lon"


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    make_tokenizer: Callable[[], Any],
    make_any_model: Callable[..., Any],
) -> Path:
    """An export, with its manifest, and a teacher, as Transformers writes it."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("export", "teacher"):
        (folder / name).mkdir()
        TASK.save_processor(make_tokenizer(), folder / name)
    model = make_any_model("bert", layers=2)
    save_model(model, folder / "export")
    write_manifest(folder / "export", {"parent": None}, key="k")
    model.save_pretrained(folder / "teacher")
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.arange(4, 12)[None], attention_mask=torch.ones(1, 8, dtype=torch.long)).logits


@fuzz
@given(draws)
def test_an_export_is_loaded_as_it_was_or_not_at_all(whole: Path, tmp_path: Path, draw: Any) -> None:
    folder = damaged(whole / "export", draw, tmp_path / "folder")
    try:
        with counted("exports with their manifest"):
            model = compress.load(folder)
    except RefusedError:
        return
    with as_before("exports with their manifest"):
        assert torch.equal(logits(model), logits(load_model(whole / "export")))


@fuzz
@given(draws)
def test_an_export_without_its_manifest_raises_nothing_else(whole: Path, tmp_path: Path, draw: Any) -> None:
    folder = damaged(whole / "export", draw, tmp_path / "folder")
    with suppress(RefusedError), counted("exports without it"):
        compress.load(folder, verify=False)


@fuzz
@given(draws)
def test_a_teacher_is_read_whole_or_refused(whole: Path, tmp_path: Path, draw: Any) -> None:
    folder = damaged(whole / "teacher", draw, tmp_path / "folder")
    teacher = FolderTeacher(path=str(folder))
    try:
        with counted("teachers"):
            config, processor = teacher.read(TASK, None)  # type: ignore[arg-type]
            model = teacher.look(TASK, config)
            teacher.doubts()
            TASK.save_processor(processor, tmp_path)
    except RefusedError:
        return
    # Whatever it is now, it is what Transformers makes of the same folder.
    with as_before("teachers"):
        assert logits(model).shape == (1, config.num_labels)
        stock = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        assert processor(TEXT)["input_ids"] == stock(TEXT)["input_ids"]


LINE = {"stage": "prune", "verdict": "passed", "decision": "keep", "reasons": ["a"], "notes": [], "artifact": "p",
        "accuracy": 0.9, "accuracy_difference": -0.001, "accuracy_interval": [-0.003, 0.001], "latency_ms_p50": 5.0,
        "latency_ms_p90": 6.0, "speedup": 4.0, "speedup_interval": [3.6, 4.4], "size_bytes": 1000}  # fmt: skip


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs and what a sweep says of them."""
    folder = tmp_path_factory.mktemp("sweep")
    for number in range(3):
        run = folder / str(number)
        (run / ".hydra").mkdir(parents=True)
        told = {"objective": {"max_accuracy_drop": 0.01}, "seed": number}
        teacher = {**LINE, "stage": "teacher", "verdict": "baseline", "speedup": 1.0}
        (run / "ledger.jsonl").write_text(f"{json.dumps(teacher)}\n{json.dumps(LINE)}\n", encoding="utf-8")
        summary = {
            "recipe": "mine", "metric": "accuracy", "gates": {"prune": {"max_accuracy_drop": 0.01}},
            "runtime_label": "ONNX Runtime", "teacher": {"artifact": "t"}, "settings": told,
            "exported": {"stage": "prune", "proven": True},
            "student": {"test": {"difference": -0.002, "interval": [-0.006, 0.002], "examples": 700}},
            "examples": {"validation": 900, "test": 700}, "fingerprints": {"validation": "v" * 64},
        }  # fmt: skip
        (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        (run / "outcome.json").write_text(json.dumps({"ending": "exported", "reason": None}), encoding="utf-8")
        for name, content in (("overrides", [f"seed={number}"]), ("config", told), ("hydra", {"hydra": {"job": {}}})):
            # JSON is YAML.
            (run / ".hydra" / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")
    jobs = [{"folder": str(number), "ending": "exported", "reason": None, "settings": {}} for number in range(4)]
    (folder / "sweep.json").write_text(json.dumps({"jobs": jobs}), encoding="utf-8")
    return folder


@fuzz
@given(draws)
def test_a_damaged_record_costs_a_report_no_more_than_its_run(sweep: Path, tmp_path: Path, draw: Any) -> None:
    folder = damaged(sweep, draw, tmp_path / "sweep")
    for path in draw.sample(sorted(folder.glob("*/.hydra/*.yaml")), 2):
        path.write_bytes(mutated(path.read_bytes(), draw, text=True))
    try:
        with counted("records of a sweep"):
            page = publish(folder, Console(file=io.StringIO(), width=100)).read_text(encoding="utf-8")
    except RefusedError as error:
        # Runs that cannot be compared, which is no damage.
        assert "FOLDER" in str(error) or "cannot" in str(error), error
        return
    assert page.startswith("<!doctype html>")
