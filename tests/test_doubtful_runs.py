"""Whole runs that must not look better than they are: a teacher that guesses, and a stage that loses a class."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from rich.console import Console

import compress
from compress.core.errors import NothingPassedError
from compress.core.ledger import Row
from compress.core.stage import StageDefaults
from compress.pipeline.spine import RunResult
from compress.report.table import StageTable

from .quick import BRIEF

Run = Callable[..., RunResult]
QUICK = (*BRIEF, "measurement.examples=4", "data.max_length=32", "runtime=torch", "gate.max_accuracy_drop=1")


class AlwaysCold(StageDefaults):
    """Makes a model that answers every example with the first label."""

    leaves: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[dict[str, str]] = {}

    def apply(self, model: Any, context: Any) -> Any:
        """The model, with a bias that nothing outweighs."""
        with torch.no_grad():
            model.classifier.bias.copy_(torch.tensor([1000.0, 0.0]))
        return model


@pytest.fixture
def run(checkpoint: Path, tmp_path: Path) -> Run:
    """`run(rows, stage)`: a recipe of one stage on a tiny model and these examples."""

    def go(rows: Sequence[dict[str, Any]], stage: Any = None) -> RunResult:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        given = (f"model.path={checkpoint}", f"data.train={tmp_path / 'rows.jsonl'}", f"store={tmp_path / 'store'}")
        recipe = compress.recipe("text_classification", *given, *QUICK, "order=[fuse]")
        if stage is not None:
            stages = {**recipe.settings["stages"], "fuse": {}}
            recipe = dataclasses.replace(
                recipe, stages={**recipe.stages, "fuse": stage}, settings={**recipe.settings, "stages": stages}
            )
        return compress.run(recipe, tmp_path / "run")

    return go


def as_the_model_answers(checkpoint: Path, examples: Path) -> list[dict[str, Any]]:
    """The examples with the model's own answers for labels, evened out: a teacher without a fault."""
    from compress.tasks.text_classification import TextClassification

    task = TextClassification(text="text", label="label", max_length=32)
    model, tokenizer = task.load_model(checkpoint), task.load_processor(checkpoint)
    rows = [json.loads(line) for line in examples.read_text(encoding="utf-8").splitlines()]
    with torch.inference_mode():
        logits = model(**tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")).logits
        # Half of the examples on each side.
        model.classifier.bias[1] += torch.median(logits[:, 0] - logits[:, 1])
    model.save_pretrained(checkpoint)
    warm = (logits[:, 1] - logits[:, 0]) > torch.median(logits[:, 1] - logits[:, 0])
    return [{**row, "label": "warm" if is_warm else "cold"} for row, is_warm in zip(rows, warm.tolist(), strict=True)]


def test_a_teacher_that_guesses_is_told_everywhere(run: Run, examples: Path) -> None:
    rows = [json.loads(line) for line in examples.read_text(encoding="utf-8").splitlines()]
    # Labels that have nothing to do with the texts.
    rows = [{**row, "label": ("cold", "warm", "cold")[number % 3]} for number, row in enumerate(rows)]
    result = run(rows)
    told = "answering 'cold' every time"
    (doubt,) = result.summary["doubts"]
    assert told in doubt and result.summary["exported"]["proven"] is False
    assert result.rows[0].reasons == (f"warning: {doubt}",)
    console = Console(width=400)
    with console.capture() as capture:
        StageTable(console).row(result.rows[0])
    assert told in capture.get()
    assert told in (result.export / "README.md").read_text(encoding="utf-8")
    assert "every time" in (result.folder / "report.html").read_text(encoding="utf-8")


def test_a_stage_that_loses_a_class_fails(run: Run, checkpoint: Path, examples: Path, tmp_path: Path) -> None:
    rows = as_the_model_answers(checkpoint, examples)
    with pytest.raises(NothingPassedError, match=r"every example is answered with cold: that is no classifier"):
        run(rows, AlwaysCold())
    lines = (tmp_path / "run" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    teacher, always = (Row.from_json(json.loads(line)) for line in lines)
    assert teacher.findings == () and teacher.value == 1.0
    assert (always.verdict, always.decision) == ("failed", "roll_back")
    assert any(reason.startswith("recall of class warm -1.0000 [") for reason in always.missed)
    assert always.figures["matthews_correlation"] == 0.0
