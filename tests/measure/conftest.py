"""A graph of one operator, for tests of what is timed and by whom."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from compress.measure.processes import Candidate
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE


@pytest.fixture
def doubling(tmp_path: Path) -> Candidate:
    """A graph that returns twice its input as logits."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["logits"])],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", "width"])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "model.onnx"
    )
    return Candidate(runtime=OnnxRuntime(threads=1), folder=tmp_path, signature=SIGNATURE)
