"""Writing an ONNX graph node by node, where the exporter of torch would take minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PRODUCER = "compress"
TYPES = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
# Of what a file of protocol buffers can hold, 2 GiB, less than its frame.
LARGEST_BYTES = 2_000_000_000
WEIGHTS_FILE = "model.onnx.data"


class GraphWriter:
    """Collects nodes and tensors. Names that it gives are numbered, so a graph is the same whenever it is written."""

    def __init__(self, opset: int) -> None:
        self._opset = opset
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._domains: set[str] = set()

    def input(self, name: str, dtype: str, axes: Sequence[str | int]) -> str:
        """An input of the graph. axes: a size, or the name of one that may change."""
        self._inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], list(axes)))
        return name

    def input_with_default(self, name: str, value: np.ndarray) -> str:
        """An input that whoever runs the graph may leave out."""
        self._tensors[name] = numpy_helper.from_array(value, name)
        return self.input(name, str(value.dtype), value.shape)

    def output(self, name: str, dtype: str, axes: Sequence[str | int], value: str) -> None:
        """An output of the graph, which has what `value` names."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TYPES[dtype], list(axes)))

    def tensor(self, name: str, value: np.ndarray) -> str:
        """A tensor that is stored, by its own name; the first of a name is the one."""
        if name not in self._tensors:
            self._tensors[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def integers(self, *values: int) -> str:
        """A small constant, (len(values),)."""
        return self.tensor(f"integers_{'_'.join(map(str, values))}", np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """A constant, ()."""
        return self.tensor(f"number_{value!r}", np.array(value, dtype=np.float32))

    def add(self, operator: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add a node. Returns the name of its output, or a list of names where it has several. An input may be "": none
        is given."""
        names = [f"{operator}_{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, domain=domain, **attributes))
        self._domains.add(domain)
        return names[0] if outputs == 1 else names

    def write(self, path: Path, *, beside: bool = False, told: Mapping[str, str] | None = None) -> Path:
        """Write the graph as one file, or with its larger tensors in another beside it, where that is asked for or one
        could not hold them. told: words of the model about itself."""
        graph = helper.make_graph(self._nodes, "model", self._inputs, self._outputs, list(self._tensors.values()))
        opsets = [helper.make_opsetid("", self._opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in sorted(self._domains - {""})]
        # The version of the format that came with this opset: a newer one is refused by runtimes that know the opset.
        model = helper.make_model(graph, producer_name=PRODUCER, opset_imports=opsets, ir_version=11)
        helper.set_model_props(model, dict(told or {}))
        # What was written before is replaced, and not added to.
        (path.parent / WEIGHTS_FILE).unlink(missing_ok=True)
        if not beside and sum(len(tensor.raw_data) for tensor in self._tensors.values()) < LARGEST_BYTES:
            onnx.save(model, path)
        else:
            onnx.save(model, path, save_as_external_data=True, location=WEIGHTS_FILE, all_tensors_to_one_file=True)
        return path
