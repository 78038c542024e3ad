"""More outputs of a graph that gives vectors: the same in INT8, or in bits."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compress.core.kept_vectors import BINARY, INT8, port_of
from compress.core.signature import Port
from compress.runtimes.onnx.file import onnx_file

FILE = "model.onnx"
# Of the bits of a byte, the first first.
WEIGHTS = 2.0 ** np.arange(7, -1, -1, dtype=np.float32)


def add_forms(
    source: Path,
    folder: Path,
    output: Port,
    forms: Sequence[str],
    *,
    ranges: np.ndarray,
    steps: np.ndarray,
    at_length_1: bool,
) -> None:
    """Copy an export from `source` into `folder`, its `model.onnx` with an output for each form after those it has.

    output: the vectors. ranges: (2, dimensions), steps: (dimensions,), in float32: what INT8 is kept by, of vectors at
    length 1. at_length_1: whether the output's have that already. Whatever was computed before is computed as before.
    """
    path = onnx_file(source)
    # Weights that lie in a file of their own stay there.
    model = onnx.load(path, load_external_data=False)
    for form in forms:
        if form == INT8:
            _add_int8(model.graph, output, ranges[0], steps, at_length_1=at_length_1)
        elif form == BINARY:
            _add_bits(model.graph, output, ranges.shape[1])
    for other in source.iterdir():
        if other.is_file() and other.name not in (FILE, "manifest.json"):
            shutil.copyfile(other, folder / other.name)
    onnx.save(model, folder / FILE)


def _add_int8(graph: onnx.GraphProto, output: Port, low: np.ndarray, steps: np.ndarray, *, at_length_1: bool) -> None:
    port, dimensions = port_of(output, INT8), len(low)
    build, direction = _Nodes(graph, port.name), output.name
    if not at_length_1:
        length = build.node("ReduceL2", output.name, build.constant(np.array([1], dtype=np.int64)), keepdims=1)
        direction = build.node("Div", output.name, build.node("Max", length, build.constant(np.float32(1e-12))))
    above = build.node("Sub", direction, build.constant(low.astype(np.float32)))
    whole = build.node("Floor", build.node("Div", above, build.constant(steps.astype(np.float32))))
    inside = build.node("Clip", whole, build.constant(np.float32(0)), build.constant(np.float32(255)))
    signed = build.node("Sub", inside, build.constant(np.float32(128)))
    build.output(port, "Cast", signed, to=TensorProto.INT8, size=dimensions)


def _add_bits(graph: onnx.GraphProto, output: Port, dimensions: int) -> None:
    port, missing = port_of(output, BINARY), -dimensions % 8
    build = _Nodes(graph, port.name)
    bits = build.node("Cast", build.node("Greater", output.name, build.constant(np.float32(0))), to=TensorProto.FLOAT)
    if missing:
        bits = build.node("Pad", bits, build.constant(np.array([0, 0, 0, missing], dtype=np.int64)))
    in_bytes = build.node("Reshape", bits, build.constant(np.array([0, -1, 8], dtype=np.int64)))
    # A sum of at most 255 is exact in float32.
    sums = build.node("MatMul", in_bytes, build.constant(WEIGHTS))
    build.output(port, "Cast", sums, to=TensorProto.UINT8, size=(dimensions + missing) // 8)


class _Nodes:
    """Appends nodes to a graph, in order. name: what the names of all that is made begin with."""

    def __init__(self, graph: onnx.GraphProto, name: str) -> None:
        self._graph, self._name, self._count = graph, name, 0

    def constant(self, value: np.ndarray | np.floating) -> str:
        name = self._next()
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = self._next()
        self._graph.node.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def output(self, port: Port, kind: str, given: str, *, to: int, size: int) -> None:
        self._graph.node.append(helper.make_node(kind, [given], [port.name], name=port.name, to=to))
        self._graph.output.append(helper.make_tensor_value_info(port.name, to, [port.axes[0], size]))

    def _next(self) -> str:
        self._count += 1
        return f"{self._name}/{self._count}"
