"""Exports of tiny models with their checkpoints, as a run leaves them in its folder, and texts to compare on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from transformers import PreTrainedModel

from compress.core.manifest import MANIFEST, write_manifest
from compress.measure.environment import int8_weight_bits
from compress.nn.checkpoint import save_model
from compress.nn.layers import Int8DynamicLinear, Int8Embedding
from compress.nn.structure import replace_module
from compress.runtimes.onnxruntime.runtime import OnnxRuntime

CARD = "---\nlibrary_name: onnxruntime\n---\n\n## Use\n\nas the run exported it\n\n## Evidence\n\nrows\n"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Ten texts of 1 to 10 words, one a line."""
    words = ["kas", "lon", "mit", "nur", "pes", "ram", "kat", "los", "mim", "nun"]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(" ".join(words[: length + 1]) for length in range(10)), encoding="utf-8")
    return path


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Path]:
    """`run_of(made, edit=None)`: a run's folder with the export, its checkpoint and a card in it. edit: changes the
    model first; the graph is then written anew."""

    def make(made: Any, edit: Callable[[PreTrainedModel], None] | None = None) -> Path:
        run = tmp_path / "run"
        export = run / "export"
        shutil.copytree(made.folder, export)
        manifest = json.loads((export / MANIFEST).read_text(encoding="utf-8"))
        (export / MANIFEST).unlink()
        save_model(made.model, export)
        if edit is not None:
            _edit(made, edit, export)
        (export / "README.md").write_text(CARD, encoding="utf-8")
        write_manifest(export, manifest["facts"], key=manifest["key"])
        return run

    return make


def _edit(made: Any, edit: Callable[[PreTrainedModel], None], export: Path) -> None:
    from compress.nn.checkpoint import load_model

    model = load_model(export)
    edit(model)
    save_model(model, export)
    signature = made.task.signature(model.config)
    row = {name: [1] * 5 for name in ("input_ids", "attention_mask")}
    batch = made.task.collate([{**row, "labels": -1, "length": 5, "group": 0}] * 2, made.processor)
    OnnxRuntime(threads=1).export(model, signature, {name: batch[name] for name in signature.names}, export)


@pytest.fixture
def in_int8() -> Callable[[PreTrainedModel], None]:
    """Every dense layer with ranges found anew, and the word embeddings, as integers."""

    def quantize(model: PreTrainedModel) -> None:
        for path, module in list(model.named_modules()):
            if type(module) is nn.Linear:
                replace_module(model, path, Int8DynamicLinear.of(module, int8_weight_bits()))
        words = model.get_input_embeddings()
        path = next(path for path, module in model.named_modules() if module is words)
        replace_module(model, path, Int8Embedding.of(words))

    return quantize
