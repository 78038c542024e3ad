"""Other forms of the INT8 products of an exported graph: the graph with fixed ranges, rewritten node by node.

What `compress` exports as `static` is, for each product, QuantizeLinear, DequantizeLinear, MatMul with the weights'
DequantizeLinear, and Add. A form can so be tried before there is an exporter, or a layer, for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# What rows are divided by is never less: a row of zeros stays one.
SMALLEST = np.float32(1e-12)
STEPS, MIDDLE = 127, 128
ONNX_RUNTIME = "com.microsoft"


@dataclass(frozen=True)
class Product:
    """The nodes of one."""

    quantize: onnx.NodeProto
    restore: onnx.NodeProto
    weight: onnx.NodeProto
    multiply: onnx.NodeProto
    bias: onnx.NodeProto


def products(graph: onnx.GraphProto) -> Iterator[Product]:
    """All of a graph that was exported as `static`."""
    made_by = {name: node for node in graph.node for name in node.output}
    for bias in [node for node in graph.node if node.op_type == "Add"]:
        multiply = made_by.get(bias.input[0])
        if multiply is None or multiply.op_type != "MatMul":
            continue
        restore, weight = (made_by.get(name) for name in multiply.input)
        if restore is not None and weight is not None and weight.op_type == "DequantizeLinear":
            yield Product(made_by[restore.input[0]], restore, weight, multiply, bias)


def integers_everywhere(model: onnx.ModelProto) -> None:
    """Biases added by Sum. A MatMul of two dimensions with an Add becomes a Gemm when a session opens, which has no
    integers: its weights are scaled back at every call."""
    for product in products(model.graph):
        product.bias.op_type = "Sum"


def bias_inside(model: onnx.ModelProto) -> None:
    """Each product one operator of ONNX Runtime's own, which adds the bias while it scales the sums; and no ReLU before
    a range that begins at 0, since rounding cuts off what is below."""
    graph = model.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for product in products(graph):
        scale, zero = product.quantize.input[1:]
        before = made_by.get(product.quantize.input[0])
        if before is not None and before.op_type == "Relu" and not numpy_helper.to_array(values[zero]).any():
            product.quantize.input[0] = before.input[0]
        weight, weight_scale = product.weight.input[:2]
        given = [product.quantize.output[0], weight, scale, weight_scale, zero, "", product.bias.input[1]]
        one = helper.make_node("MatMulIntegerToFloat", given, list(product.bias.output), domain=ONNX_RUNTIME)
        replaced[product.bias.output[0]] = [one]
    _rewrite(graph, replaced)
    model.opset_import.append(helper.make_opsetid(ONNX_RUNTIME, 1))


def ranges_of_rows(model: onnx.ModelProto) -> None:
    """Each row of a product's inputs by its own largest value, which its outputs are multiplied by again: inside, the
    range is fixed, from -1 to 1."""
    graph = model.graph
    constants: Mapping[str, Any] = {
        "row.scale": np.float32(1 / STEPS),
        "row.zero": np.uint8(MIDDLE),
        "row.smallest": SMALLEST,
        "row.axes": np.array([-1]),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for number, product in enumerate(products(graph)):
        inputs = product.quantize.input[0]
        names = {part: f"row{number}.{part}" for part in ("size", "most", "range", "share", "sums")}
        first = [
            helper.make_node("Abs", [inputs], [names["size"]]),
            helper.make_node("ReduceMax", [names["size"], "row.axes"], [names["most"]], keepdims=1),
            helper.make_node("Max", [names["most"], "row.smallest"], [names["range"]]),
            helper.make_node("Div", [inputs, names["range"]], [names["share"]]),
        ]
        product.quantize.input[:] = [names["share"], "row.scale", "row.zero"]
        product.restore.input[1:] = ["row.scale", "row.zero"]
        scaled = helper.make_node("Mul", [product.multiply.output[0], names["range"]], [names["sums"]])
        product.bias.input[0] = names["sums"]
        replaced |= {
            product.quantize.output[0]: [*first, product.quantize],
            product.bias.output[0]: [scaled, product.bias],
        }
    _rewrite(graph, replaced)


def _rewrite(graph: onnx.GraphProto, replaced: Mapping[str, list[onnx.NodeProto]]) -> None:
    """By the output that a node gives, others in its place; without nodes and tensors whose values nobody reads."""
    wanted = {output.name for output in graph.output}
    kept: list[bytes] = []
    nodes = [new for node in graph.node for new in replaced.get(node.output[0], [node])]
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node.SerializeToString())
    tensors = [tensor.SerializeToString() for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(onnx.NodeProto.FromString(node) for node in reversed(kept))
    graph.initializer.extend(onnx.TensorProto.FromString(tensor) for tensor in tensors)
