"""Rewritten products against numbers worked out by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import int8_products

ROWS = np.array([[1.0, -0.5], [0.1, 0.2]], dtype=np.float32)
# Steps of a half around 10: the second row is rounded to nothing, and its answer is the bias.
FIXED = [[0.0, 2.5], [0.25, 0.0]]
# Steps of a 127th of each row's largest: 0.5 is 64 of them (63.5, rounded to the even one), so 0.503937 of 1, and
# 0.100787 of 0.2.
OF_ROWS = [[0.5 - 1.5 * 64 / 127 + 0.25, 2 + 64 / 127], [0.1 * 64 / 127 + 1.5 * 0.2 + 0.25, 0.4 * 64 / 127 - 0.2]]


def static_model(*, zero: int = 10, relu: bool = False) -> onnx.ModelProto:
    """One product as `compress` exports it: weights [[1, 2], [3, -1]] with scales 0.5 and 1, bias 0.25 and 0."""
    constants = {
        "scale": np.float32(0.5),
        "zero": np.uint8(zero),
        "weight": np.array([[1, 2], [3, -1]], np.int8),
        "weight_scale": np.array([0.5, 1], np.float32),
        "bias": np.array([0.25, 0], np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["relu" if relu else "x", "scale", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["restored"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale"], ["dense"], axis=1),
        helper.make_node("MatMul", ["restored", "dense"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["y"]),
    ]
    nodes = [helper.make_node("Relu", ["x"], ["relu"]), *nodes] if relu else nodes
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 2]) for name in ("x", "y")]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "one", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def opened(model: onnx.ModelProto, folder: Path) -> tuple[onnxruntime.InferenceSession, Counter[str]]:
    """A session, and the operators that it made of the graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


@pytest.mark.parametrize(
    ("rewrite", "expected", "tolerance"),
    [
        (lambda model: None, FIXED, 1e-6),
        (int8_products.integers_everywhere, FIXED, 1e-6),
        (int8_products.bias_inside, FIXED, 1e-6),
        (int8_products.ranges_of_rows, OF_ROWS, 1e-6),
    ],
)
def test_what_a_product_gives(rewrite: object, expected: list[list[float]], tolerance: float, tmp_path: Path) -> None:
    model = static_model()
    assert len(list(int8_products.products(model.graph))) == 1
    assert callable(rewrite)
    rewrite(model)
    session, _ = opened(model, tmp_path)
    (found,) = session.run(None, {"x": ROWS})
    np.testing.assert_allclose(found, expected, atol=tolerance)
    # Alone a row gets the same answer.
    np.testing.assert_array_equal(session.run(None, {"x": ROWS[1:]})[0], found[1:])


def test_a_row_of_zeros_gets_the_bias(tmp_path: Path) -> None:
    model = static_model()
    int8_products.ranges_of_rows(model)
    (found,) = opened(model, tmp_path)[0].run(None, {"x": np.zeros((1, 2), np.float32)})
    assert found.tolist() == [[0.25, 0.0]]


def test_a_session_scales_weights_back_unless_the_bias_is_added_by_sum(tmp_path: Path) -> None:
    model = static_model()
    _, before = opened(model, tmp_path)
    assert before["MatMulIntegerToFloat"] == 0 and before["DequantizeLinear"] == 2
    int8_products.integers_everywhere(model)
    _, after = opened(model, tmp_path)
    assert after == {"QuantizeLinear": 1, "MatMulIntegerToFloat": 1, "Sum": 1}


@pytest.mark.parametrize(("zero", "left"), [(0, 0), (10, 1)])
def test_a_relu_goes_where_rounding_does_the_same(zero: int, left: int, tmp_path: Path) -> None:
    model = static_model(zero=zero, relu=True)
    (expected,) = opened(model, tmp_path)[0].run(None, {"x": ROWS})
    int8_products.bias_inside(model)
    session, operators = opened(model, tmp_path)
    assert operators["Relu"] == left and operators["MatMulIntegerToFloat"] == 1
    np.testing.assert_allclose(session.run(None, {"x": ROWS})[0], expected, atol=1e-6)
