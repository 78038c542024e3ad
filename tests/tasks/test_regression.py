"""A number for a text: labels that are numbers, what is judged and imitated, and which models are for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.heads import require_answers
from compress.tasks.regression import Regression, thirds

TASK = Regression(text="text", label="stars", max_length=8, scale=2.0)
DATA = Dataset.from_dict({"text": ["kas kat", "lon"], "stars": [1, 4]})


@pytest.fixture
def config(make_model: Callable) -> Any:
    return TASK.fit_config(make_model().config, DATA)


def test_encode(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    rows = TASK.encode(DATA, tokenizer, config, "train")
    assert rows["labels"] == [1.0, 4.0] and rows["length"] == [4, 3]
    batch = TASK.collate(list(rows), tokenizer)
    assert batch["labels"].tolist() == [1.0, 4.0] and batch["labels"].dtype == torch.float32
    unlabelled = TASK.encode_unlabelled(DATA.remove_columns("stars"), tokenizer, config)
    assert unlabelled.features == rows.features and all(map(math.isnan, unlabelled["labels"]))
    with pytest.raises(InputError, match=r"data\.label=stars: data\.validation has a single score \(3\)"):
        same = DATA.remove_columns("stars").add_column("stars", [3.0, 3.0])
        TASK.encode(same, tokenizer, config, "validation")


def test_losses_are_squared_distances_in_units_of_the_scale(config: Any) -> None:
    output, target = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.0]])
    # (1 - 3)² / 2² over two rows.
    assert float(TASK.imitation_loss(output, target)) == pytest.approx(0.5)
    assert float(TASK.label_loss(output, {"labels": torch.tensor([5.0, math.nan])})) == pytest.approx(4.0)
    assert int(TASK.labelled({"labels": torch.tensor([5.0, math.nan])})) == 1


def test_what_is_judged_by_hand() -> None:
    rows = [{"labels": label} for label in (1.0, 2.0, 3.0, 4.0)]
    outputs = [np.array([score]) for score in (1.0, 3.0, 2.0, 6.0)]
    metric, statistics = TASK.metric(None), TASK.statistics(outputs, rows, None)
    assert statistics.tolist() == [[1.0, 1.0], [2.0, 3.0], [3.0, 2.0], [4.0, 6.0]]
    # 1 - 6 (0 + 1 + 1 + 0) / (4 * 15).
    assert metric.value(statistics) == pytest.approx(0.8) and metric.unit.kind == "plain"
    figures = TASK.figures(outputs, rows, None)
    # Errors 0, 1, 1 and 2; covariance 7, squares 5 and 14.
    assert figures["mean_absolute_error"] == pytest.approx(1.0)
    assert figures["pearson_correlation"] == pytest.approx(7 / math.sqrt(5 * 14))


def test_thirds_of_the_scores() -> None:
    assert thirds([1.0, 2.0, 3.0]) == ["lowest scores", "middle scores", "highest scores"]
    assert thirds([5.0, 5.0, 5.0]) == ["lowest scores"] * 3


def test_a_scale_is_positive() -> None:
    with pytest.raises(InputError, match=r"task\.scale is 0; it must be greater than 0"):
        Regression(text="text", label="stars", max_length=8, scale=0)


def test_usage_runs_without_torch(config: Any) -> None:
    usage = TASK.usage(OnnxRuntime(threads=1), config)
    compile(usage, "usage", "exec")
    assert len(usage.splitlines()) == 6 and "torch" not in usage


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "problem_type is None: it gives an example one of its labels, and regression reads one number"),
        ({"problem_type": "regression"}, "several numbers"),
    ],
)
def test_models_that_answer_otherwise_are_refused(checkpoint: Path, settings: dict[str, Any], told: str) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **settings}), encoding="utf-8")
    with pytest.raises(InputError, match=told):
        TASK.load_model(checkpoint)


def test_a_classifier_is_offered_its_own_recipe(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"use -cn text_classification for this one, or let this run train"):
        require_answers(checkpoint, "regression")
    path = checkpoint / "config.json"
    one = {"id2label": {"0": "score"}, "label2id": {"score": 0}}
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **one}), encoding="utf-8")
    require_answers(checkpoint, "regression")
    with pytest.raises(InputError, match=r"num_labels is 1: it gives an example a number.*use -cn regression"):
        require_answers(checkpoint, "text_classification")
