"""TensorRT's rules: each is broken by a graph made for it, and a graph of ours that keeps all computes the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from compress.core.errors import InputError
from compress.core.export_form import Exported
from compress.methods.quantize.int8 import Calibration, QuantizeInt8
from compress.runtimes.tensorrt.form import TensorRtForm
from compress.runtimes.tensorrt.rules import RULES, broken
from compress.runtimes.tensorrt.signed import make_signed
from compress.tasks.text_task import SIGNATURE

# Nobody is imitated without recovery.
UNUSED: Any = None

STATIC = QuantizeInt8(
    scheme="static",
    embeddings=False,
    embedding_bits=8,
    # Of eight, processors without VNNI cannot hold a sum of two products.
    weight_bits=7,
    keep_float=[],
    float_share=0,
    sensitivity_examples=4,
    calibration=Calibration(method="symmetric", percentile=99.9, examples=16),
    smoothing=None,
    static_inner=False,
    recovery_epochs=0,
    imitation=UNUSED,
)


def graph(opset: int = 20, **changed: Any) -> onnx.ModelProto:
    """y = Q/DQ(x) @ DQ(weights), which keeps every rule. changed: another value of a tensor."""
    values: dict[str, Any] = {
        "scale": np.float32(0.1),
        "zero": np.int8(0),
        "weights": np.arange(6, dtype=np.int8).reshape(2, 3),
        "weight_scale": np.array([0.1, 0.2, 0.3], dtype=np.float32),
        **changed,
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="Q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="DQ"),
        helper.make_node("DequantizeLinear", ["weights", "weight_scale"], ["w"], name="W", axis=1),
        helper.make_node("MatMul", ["d", "w"], ["y"], name="product"),
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3]),
    ]
    made = helper.make_graph(nodes, "made", ports[:1], ports[1:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)])


def names(model: onnx.ModelProto) -> dict[str, list[str]]:
    return {rule.name: list(breaks) for rule, breaks in broken(model)}


def test_a_graph_that_keeps_them() -> None:
    assert names(graph()) == {}


def test_each_rule_names_the_node_that_breaks_it() -> None:
    assert names(graph(opset=23)) == {"opset": ["the graph asks for opset 23 of ONNX"]}
    unsigned = [f"{name} has integers of type uint8" for name in ("Q", "DQ")]
    assert names(graph(zero=np.uint8(0))) == {"signed": unsigned}
    assert names(graph(zero=np.int8(3))) == {
        "zero point": ["the zero point of Q is 3", "the zero point of DQ is 3"],
    }
    assert names(graph(scale=np.float32(0))) == {
        "scale": ["the scale of Q has values that are not positive", "the scale of DQ has values that are not positive"]
    }
    assert names(graph(weights=np.zeros((2, 3), dtype=np.int32))) == {"signed": ["W has integers of type int32"]}
    third = graph()
    third.graph.node[2].attribute[0].i = 2
    assert names(third) == {"channels": ["W has a scale for each channel of axis 2"]}
    channels = names(graph(scale=np.array([0.1, 0.2], dtype=np.float32)))
    assert channels == {
        "channels": [f"{name} has a scale for each channel of what is no stored weight" for name in ("Q", "DQ")]
    }
    dynamic = graph()
    dynamic.graph.node[3].op_type = "MatMulInteger"
    assert names(dynamic) == {"operators": ["product is a MatMulInteger"]}
    looked_up = graph()
    looked_up.graph.node.append(helper.make_node("Gather", ["weights", "x"], ["z"], name="lookup"))
    assert names(looked_up) == {"weights": ["lookup (Gather) reads the integers weights as they are"]}
    assert len(RULES) == 7


def test_unsigned_around_128_is_signed_around_0() -> None:
    model = graph(zero=np.uint8(128))
    before = numpy_helper.to_array(model.graph.initializer[1])
    assert before == 128 and make_signed(model) == 2
    assert names(model) == {}
    assert make_signed(graph(zero=np.uint8(127))) == 0


def test_ours_keeps_them_and_computes_the_same(make_model: Callable, make_context: Callable, tmp_path: Path) -> None:
    context = make_context(make_model())
    model = STATIC.apply(make_model(), context).eval()
    batch = context.collate(list(context.train)[:4])
    inputs = {name: batch[name] for name in SIGNATURE.names}
    form = TensorRtForm(threads=1)
    told = form.write(Exported(folder=tmp_path, model=model, signature=SIGNATURE, batch=inputs), tmp_path)
    assert told[0].startswith("7 of 7 rules") and "inputs are rounded to INT8" in told[1]
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    # Four in each layer, if those that read the same share one; the pooler, the labels.
    assert kinds.count("QuantizeLinear") >= 4 * 4 + 2
    with torch.inference_mode():
        expected = model(**inputs).logits
    found = form.open(tmp_path, SIGNATURE).run({name: value.numpy() for name, value in inputs.items()})
    # A value at the edge between two steps may fall to either.
    assert float(np.abs(found - expected.numpy()).max()) < 0.02 * float(expected.abs().max())


def test_ranges_that_are_wider_on_one_side(make_model: Callable, make_context: Callable, tmp_path: Path) -> None:
    context = make_context(make_model())
    plain = dataclasses.replace(STATIC.calibration, method="minmax")
    model = dataclasses.replace(STATIC, calibration=plain, embeddings=True).apply(make_model(), context).eval()
    batch = context.collate(list(context.train)[:4])
    exported = Exported(folder=tmp_path, model=model, signature=SIGNATURE, batch=batch)
    with pytest.raises(InputError) as told:
        TensorRtForm(threads=1).write(exported, tmp_path)
    message = str(told.value)
    assert "integers are INT8" in message and "every zero point is 0 (onnx/onnx-tensorrt" in message
    assert "reads the integers" in message and "stages.quantize.calibration.method=symmetric" in message
    assert not (tmp_path / "model.onnx").exists()


def test_tensorrt_itself_reads_it(make_model: Callable, make_context: Callable, tmp_path: Path) -> None:
    tensorrt = pytest.importorskip("tensorrt", reason="tensorrt is not installed, or there is no NVIDIA GPU")
    context = make_context(make_model())
    model = STATIC.apply(make_model(), context).eval()
    batch = context.collate(list(context.train)[:4])
    exported = Exported(folder=tmp_path, model=model, signature=SIGNATURE, batch=batch)
    TensorRtForm(threads=1).write(exported, tmp_path)
    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    network = tensorrt.Builder(logger).create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(tmp_path / "model.onnx")), parser.get_error(0)
