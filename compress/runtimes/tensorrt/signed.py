"""Unsigned integers around 128 as signed ones around 0: the same numbers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

MIDDLE = 128
ZERO = "signed_zero_point"


def make_signed(model: onnx.ModelProto) -> int:
    """Let every QuantizeLinear and DequantizeLinear whose zero point is a stored 128 of type uint8 have INT8 and 0
    instead, in place. Returns how many those were.

    min(max(round(x / scale) + 128, 0), 255) - 128 is min(max(round(x / scale), -128), 127), so nothing that is computed
    changes.
    """
    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    changed = 0
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        zero = stored.get(node.input[2])
        if zero is not None and zero.dtype == np.uint8 and zero.ndim == 0 and zero == MIDDLE:
            node.input[2] = ZERO
            changed += 1
    if changed:
        graph.initializer.append(numpy_helper.from_array(np.zeros((), dtype=np.int8), ZERO))
    return changed
