"""What TensorRT asks of a graph with integers, rule by rule, each with its source. No GPU is needed to look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from onnx import numpy_helper

OPERATORS = "onnx/onnx-tensorrt, docs/operators.md, TensorRT 10.0"
QUANTIZED = "NVIDIA TensorRT documentation, Working with Quantized Types"
EXPLICIT = "NVIDIA TensorRT documentation, Explicit Quantization"
OPSETS = range(9, 21)
UNSUPPORTED = frozenset({"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"})
BETWEEN = frozenset({"QuantizeLinear", "DequantizeLinear"})
INTEGERS = (np.dtype(np.int8), np.dtype(np.uint8))


class Graph:
    """A model with what its tensors hold, and who reads them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.nodes = model, list(model.graph.node)

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """What is stored, by name."""
        found = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        for node in self.nodes:
            held = next((entry.t for entry in node.attribute if entry.name == "value"), None)
            if node.op_type == "Constant" and held is not None:
                found[node.output[0]] = numpy_helper.to_array(held)
        return found

    @cached_property
    def quantizing(self) -> list[onnx.NodeProto]:
        """The nodes that change between float and integers."""
        return [node for node in self.nodes if node.op_type in BETWEEN]

    def value(self, node: onnx.NodeProto, place: int) -> np.ndarray | None:
        """What an input of a node holds; None where it is computed, or not given."""
        return self.values.get(node.input[place]) if len(node.input) > place else None


@dataclass(frozen=True)
class Rule:
    """says: what must hold. source: who says so. breaks: what does not hold it, each in words that name the node."""

    name: str
    says: str
    source: str
    breaks: Callable[[Graph], Iterator[str]]


def broken(model: onnx.ModelProto) -> list[tuple[Rule, Sequence[str]]]:
    """The rules that a graph does not keep, each with what breaks it."""
    graph = Graph(model)
    found = [(rule, list(rule.breaks(graph))) for rule in RULES]
    return [(rule, breaks) for rule, breaks in found if breaks]


def _opset(graph: Graph) -> Iterator[str]:
    for entry in graph.model.opset_import:
        if entry.domain or entry.version not in OPSETS:
            yield f"the graph asks for opset {entry.version} of {entry.domain or 'ONNX'}"


def _operators(graph: Graph) -> Iterator[str]:
    yield from (f"{_name(node)} is a {node.op_type}" for node in graph.nodes if node.op_type in UNSUPPORTED)


def _signed(graph: Graph) -> Iterator[str]:
    for node in graph.quantizing:
        zero = graph.value(node, 2)
        stored = graph.value(node, 0) if node.op_type == "DequantizeLinear" else None
        # A `QuantizeLinear` without a zero point gives uint8.
        kind = zero.dtype if zero is not None else stored.dtype if stored is not None else None
        if kind is None and node.op_type == "QuantizeLinear":
            kind = np.dtype(np.uint8)
        if kind is not None and kind != np.int8:
            yield f"{_name(node)} has integers of type {kind}"


def _zero_points(graph: Graph) -> Iterator[str]:
    for node in graph.quantizing:
        zero = graph.value(node, 2)
        if len(node.input) > 2 and node.input[2] and (zero is None or zero.any()):
            told = "is computed" if zero is None else f"is {zero.flatten()[np.flatnonzero(zero)[0]]}"
            yield f"the zero point of {_name(node)} {told}"


def _scales(graph: Graph) -> Iterator[str]:
    for node in graph.quantizing:
        scale = graph.value(node, 1)
        if scale is None or not (scale > 0).all():
            yield f"the scale of {_name(node)} {'is computed' if scale is None else 'has values that are not positive'}"


def _channels(graph: Graph) -> Iterator[str]:
    for node in graph.quantizing:
        scale = graph.value(node, 1)
        if scale is None or scale.size == 1:
            continue
        # As ONNX has it where none is given.
        axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
        if graph.value(node, 0) is None:
            yield f"{_name(node)} has a scale for each channel of what is no stored weight"
        elif axis not in (0, 1):
            yield f"{_name(node)} has a scale for each channel of axis {axis}"


def _stored(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        for place, name in enumerate(node.input):
            stored = graph.values.get(name)
            weights = stored is not None and stored.dtype in INTEGERS and stored.size > 1
            if weights and not (node.op_type == "DequantizeLinear" and place == 0) and node.op_type not in BETWEEN:
                yield f"{_name(node)} ({node.op_type}) reads the integers {name} as they are"


def _name(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]


RULES = (
    Rule("opset", f"the opset is {OPSETS[0]} to {OPSETS[-1]}, of ONNX's own operators", OPERATORS, _opset),
    Rule("operators", f"none of {', '.join(sorted(UNSUPPORTED))}", OPERATORS, _operators),
    Rule("signed", "integers are INT8: no UINT8, and no INT32, as biases have", QUANTIZED, _signed),
    Rule("zero point", "every zero point is 0", OPERATORS, _zero_points),
    Rule("scale", "every scale is stored, and positive", QUANTIZED, _scales),
    Rule("channels", "a scale for each channel is a stored weight's, on axis 0 or 1", QUANTIZED, _channels),
    Rule("weights", "between stored integers and what computes with them stands a DequantizeLinear", EXPLICIT, _stored),
)
