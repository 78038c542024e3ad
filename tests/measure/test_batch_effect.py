"""Answers alone and in batches: a float export gives the same, a range over a whole batch does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from compress.core.runtime import Runtime
from compress.measure.batch_effect import effect, measure_batch_effect, told
from compress.measure.evaluate import candidate_of
from compress.nn.checkpoint import save_model, settle
from compress.nn.family import dense_layers
from compress.nn.forward import torch_batch
from compress.nn.layers import Int8DynamicLinear
from compress.nn.structure import replace_module
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_classification import TextClassification

TASK = TextClassification(text="text", label="label", max_length=32)


def _measured(model: Any, tokenizer: Any, folder: Path) -> Any:
    words = ["kas", "lot", "min", "nur", "pen", "ras"]
    texts = [" ".join(words[: 1 + number % 6] * (1 + number % 4)) for number in range(40)]
    raw = Dataset.from_dict({"text": texts, "label": ["cold", "warm"] * 20})
    rows = TASK.encode(raw, tokenizer, model.config, "validation")
    folder.mkdir()
    settle(model)
    save_model(model, folder)
    runtime: Runtime = OnnxRuntime(threads=1)
    signature = TASK.signature(model.config)
    batch = TASK.collate(list(rows.select(range(4))), tokenizer)
    runtime.export(model, signature, torch_batch({name: batch[name].numpy() for name in signature.names}), folder)
    candidate = candidate_of(runtime, folder, folder, signature)
    return measure_batch_effect(candidate, rows, TASK, tokenizer, signature, seed=0)


def test_float_export_answers_alike_alone_and_in_batches(
    tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any
) -> None:
    found = _measured(make_model("bert"), tokenizer, tmp_path / "float")
    assert (found.rows, found.batch, found.changed) == (40, 32, 0)
    assert found.largest_difference < 1e-5


def test_one_range_for_a_whole_batch_is_seen(tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any) -> None:
    model = make_model("bert")
    for path, module in list(dense_layers(model)):
        replace_module(model, path, Int8DynamicLinear.of(module))
    found = _measured(model, tokenizer, tmp_path / "int8")
    assert found.largest_difference > 1e-5


def test_changed_answers_are_counted_and_told() -> None:
    alone = [np.array([1.0, 2.0]), np.array([3.0, 1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])]
    together = [np.array([2.5, 2.0]), np.array([3.0, 1.25]), np.array([[0.0, 1.0], [1.0, 2.0]])]
    found = effect(alone, together, TASK)
    assert (found.rows, found.changed, found.largest_difference) == (3, 2, 2.0)
    assert told(found) == (
        "alone against in batches of 32: 2 of 3 examples get another answer, outputs differ by up to 2"
    )
