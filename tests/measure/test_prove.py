"""Proof by reload with a real fresh process, and its refusal when the model is not the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from safetensors.torch import load_file, save_file

from compress.core.errors import StageError
from compress.measure.prove import compare_logits, prove, write_probe
from compress.models.checkpoint import save_model, settle
from compress.runtimes.onnxruntime import OnnxRuntime
from compress.runtimes.torch import TorchRuntime
from compress.tasks.text_classification import TextClassification

TASK = TextClassification(text="text", label="label", max_length=16)


@pytest.fixture
def artifact(tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    model = settle(make_model("bert"))
    texts = ["kas " * n for n in range(1, 13)]
    raw = Dataset.from_dict({"text": texts, "label": ["cold", "warm"] * 6})
    examples = TASK.encode(raw, tokenizer, model.config, "validation")
    save_model(model, folder)
    TASK.save_processor(tokenizer, folder)
    write_probe(folder, model, TASK, examples, tokenizer, threads=1)
    return folder


def test_a_faithful_artifact_is_proven_on_several_shapes(artifact: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir()
    proof = prove(artifact, export, TASK, OnnxRuntime(threads=1))
    assert proof.torch_exact
    assert proof.max_difference <= proof.tolerance == 1e-3
    assert proof.argmax_agreement == 1.0
    assert (1, 3) in proof.shapes  # one row, the shortest text: [CLS] kas [SEP]
    assert (8, 14) in proof.shapes
    assert (export / "model.onnx").is_file()


def test_a_weight_that_changed_is_refused(artifact: Path) -> None:
    tensors = load_file(artifact / "model.safetensors")
    tensors["classifier.weight"][0, 0] += 1e-3
    save_file(tensors, artifact / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match="logits changed by up to"):
        prove(artifact, None, TASK, TorchRuntime(threads=1))


def test_a_weight_that_is_missing_is_refused(artifact: Path) -> None:
    tensors = load_file(artifact / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, artifact / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match=r"missing: classifier\.bias"):
        prove(artifact, None, TASK, TorchRuntime(threads=1))


def test_logits_that_differ_beyond_the_tolerance_are_refused() -> None:
    ours, theirs = [np.array([[1.0, 2.0]])], [np.array([[1.0, 2.01]])]
    batches = [{"input_ids": np.zeros((1, 3))}]
    assert compare_logits(ours, theirs, rounded=True, batches=batches).max_difference == pytest.approx(0.01)
    with pytest.raises(StageError, match=r"differ from torch's by 0\.01"):
        compare_logits(ours, theirs, rounded=False, batches=batches)
    with pytest.raises(StageError, match="not finite"):
        compare_logits(ours, [np.array([[np.nan, 2.0]])], rounded=True, batches=batches)
