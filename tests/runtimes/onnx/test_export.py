"""The graph: standard operators, two inputs, one output, free axes; the numbers are those of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.nn.family import layers_of
from compress.nn.layers import Int8DynamicLinear, Int8Embedding, Int8StaticLinear, LowRankLinear
from compress.nn.structure import replace_module
from compress.nn.surgery import keep_heads
from compress.runtimes.onnx.export import FILE, export_onnx
from compress.tasks.text_classification import TextClassification
from compress.tasks.text_task import SIGNATURE

TASK = TextClassification(text="text", label="label", max_length=16)


def mixed_model(make_model: Callable) -> PreTrainedModel:
    """One layer with heads cut, factors, and every int8 form."""
    model = make_model(layers=1)
    layer = layers_of(model)[0]
    keep_heads(model, layer, torch.tensor([0, 2, 3]))
    static = Int8StaticLinear.of(layer.part("value")).fix_inputs(torch.tensor(0.03), torch.tensor(128.0))
    replace_module(model, layer.path_of("value"), static)
    replace_module(model, layer.path_of("ffn_in"), LowRankLinear(32, 64, 4, bias=True).eval())
    replace_module(model, layer.path_of("ffn_out"), Int8DynamicLinear.of(layer.part("ffn_out")))
    replace_module(model, "bert.embeddings.word_embeddings", Int8Embedding.of(model.get_input_embeddings()))
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the module's one export left."""
    return {}


@pytest.fixture
def export(
    exported: dict[str, Any],
    make_model: Callable,
    batch: dict[str, Tensor],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """The model, its graph and its path, made once."""
    if not exported:
        model = mixed_model(make_model)
        attention = model.config._attn_implementation
        path = export_onnx(model, SIGNATURE, batch, tmp_path_factory.mktemp("export"))
        exported.update(model=model, path=path, graph=onnx.load(path).graph, attention=attention)
    return exported


def test_inputs_and_outputs(export: dict[str, Any]) -> None:
    graph = export["graph"]
    shapes = {
        value.name: [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "input_ids": ["batch", "sequence"],
        "attention_mask": ["batch", "sequence"],
        "logits": ["batch", 2],
    }


def test_one_file_of_standard_operators(export: dict[str, Any]) -> None:
    assert export["path"].name == FILE
    assert [path.name for path in export["path"].parent.iterdir()] == [FILE]
    model = onnx.load(export["path"])
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    # Other tools refuse shapes that contradict their own.
    assert not model.graph.value_info
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]


def test_int8_stays_int8(export: dict[str, Any]) -> None:
    counts = Counter(node.op_type for node in export["graph"].node)
    assert counts["DynamicQuantizeLinear"] == counts["MatMulInteger"] == 1
    assert counts["QuantizeLinear"] == 1
    # Of the inputs, and of the weights: a scale for each output, which is their second axis.
    axes = [
        helper.get_node_attr_value(n, "axis")
        for n in export["graph"].node
        if n.op_type == "DequantizeLinear"
        if n.attribute
    ]
    assert counts["DequantizeLinear"] == 2
    assert axes[-1:] == [1]
    stored = sorted(tuple(v.dims) for v in export["graph"].initializer if v.data_type == onnx.TensorProto.INT8)
    # The static and the dynamic layer as (in, out), the words as (rows, width); zero points of weights are scalars or
    # one for each output.
    assert [dims for dims in stored if len(dims) == 2] == [(32, 24), (34, 32), (64, 32)]


@pytest.mark.parametrize("shape", [(1, 2), (1, 9), (2, 2), (5, 13), (3, 40)])
def test_same_numbers_in_any_shape(shape: tuple[int, int], export: dict[str, Any]) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(export["path"], options, providers=["CPUExecutionProvider"])
    mask = torch.ones(shape, dtype=torch.long)
    mask[1:, shape[1] // 2 :] = 0
    ids = torch.randint(4, 34, shape, generator=torch.Generator().manual_seed(0)) * mask
    with torch.no_grad():
        ours = export["model"](input_ids=ids, attention_mask=mask).logits
    theirs = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
    np.testing.assert_allclose(theirs, ours.numpy(), rtol=0, atol=0.01 * float(ours.abs().max()))


def test_the_model_is_as_it_was(export: dict[str, Any]) -> None:
    assert export["model"].config._attn_implementation == export["attention"] == "sdpa"
    assert not export["model"].training


def test_one_row_would_freeze_the_graph(make_model: Callable, batch: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least two rows"):
        export_onnx(make_model(), SIGNATURE, {name: value[:1] for name, value in batch.items()}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_leaves_the_model_as_it_was(
    make_model: Callable, batch: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: nn.Module = make_model()
    monkeypatch.setattr(torch.onnx, "export", None)
    with pytest.raises(TypeError):
        export_onnx(model, SIGNATURE, batch, tmp_path)
    assert model.config._attn_implementation == "sdpa"
