"""Which form of a product with weights in blocks ONNX Runtime and OpenVINO execute fastest.

    python benchmarks/block_forms.py [--threads N] [--runtime onnxruntime|openvino]

Weights in blocks of 32 along the inputs, a scale each, 8 or 4 bits. A graph is a chain of distinct products, inner to
outer and back, as a decoder has them. Forms: `float`; `operator`, ONNX Runtime's own `MatMulNBits`; `signed` and
`unsigned`, a blocked `DequantizeLinear` of such integers before a `MatMul`, which is standard ONNX (opset 21). Accuracy
level 0 computes in FP32, 4 rounds a product's inputs to INT8 in blocks as well; of `signed` and `unsigned` it is a
setting of the session, and `default` says none. All graphs of a shape are opened at once and run in turns; printed are
the medians, and what the session made of the graph.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compress.measure.environment import allowed_cpus, describe_processor
from compress.measure.processes import one_measurement_at_a_time

BLOCK, PAIRS, TURNS, SECONDS = 32, 6, 12, 0.15
SHAPES = ((576, 1536), (768, 3072))
ROWS = (1, 128)
SIGNED = {8: TensorProto.INT8, 4: TensorProto.INT4}
UNSIGNED = {8: TensorProto.UINT8, 4: TensorProto.UINT4}
Form = tuple[str, int, str]
FORMS: tuple[Form, ...] = (
    ("float", 32, "default"),
    *(("operator", bits, level) for bits in (8, 4) for level in ("0", "4")),
    *((form, bits, level) for form in ("signed", "unsigned") for bits in (8, 4) for level in ("default", "0", "4")),
)


def main() -> int:
    """Print a table for each shape and number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(allowed_cpus()))
    parser.add_argument("--runtime", choices=("onnxruntime", "openvino"), default="onnxruntime")
    options = parser.parse_args()
    print(f"{describe_processor()}, {options.threads} threads, {options.runtime}")
    for inner, outer in SHAPES:
        with tempfile.TemporaryDirectory() as name, one_measurement_at_a_time():
            report(inner, outer, options.threads, options.runtime, Path(name))
    return 0


def report(inner: int, outer: int, threads: int, runtime: str, scratch: Path) -> None:
    """Time all forms of one shape."""
    open_one = open_in_onnxruntime if runtime == "onnxruntime" else open_in_openvino
    sessions = {}
    for form in FORMS:
        if runtime == "openvino" and (form[0] == "operator" or form[2] != "default"):
            continue
        path = scratch / f"{'-'.join(map(str, form))}.onnx"
        onnx.save(chain(inner, outer, form), path)
        sessions[form] = open_one(path, form[2], threads)
    for rows in ROWS:
        x = np.random.default_rng(1).standard_normal((rows, inner)).astype(np.float32)
        times: dict[Form, list[float]] = {form: [] for form in sessions}
        for _ in range(TURNS):
            for form, (run, _) in sessions.items():
                times[form] += calls(run, x)
        operations = 2 * rows * inner * outer * 2 * PAIRS
        for form, (_, made) in sessions.items():
            median = statistics.median(times[form])
            name = f"{inner}x{outer} M={rows:3d} {form[0]:9s} {form[1]:2d} bits, level {form[2]:7s}"
            print(f"{name} {median * 1e3:8.2f} ms {operations / median / 1e9:6.0f} GOP/s {made}")


def calls(run: Callable[[np.ndarray], object], x: np.ndarray) -> Iterator[float]:
    """Seconds of each call in one turn."""
    run(x)
    end = time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        run(x)
        yield time.perf_counter() - start


def chain(inner: int, outer: int, form: Form) -> onnx.ModelProto:
    """A graph of 2 x PAIRS products."""
    draw = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    last = "x"
    for number in range(2 * PAIRS):
        width, wide = (inner, outer) if number % 2 == 0 else (outer, inner)
        weight = draw.standard_normal((width, wide)).astype(np.float32) / width**0.5
        product(nodes, tensors, weight, form, last, f"y{number}")
        last = f"y{number}"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", inner])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["rows", inner])],
        tensors,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def product(
    nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], weight: np.ndarray, form: Form, x: str, y: str
) -> None:
    """One product in one form. weight: (in, out)."""
    kind, bits, level = form
    width, wide = weight.shape
    if kind == "float":
        tensors.append(numpy_helper.from_array(weight, f"w_{y}"))
        nodes.append(helper.make_node("MatMul", [x, f"w_{y}"], [y]))
        return
    blocks = weight.reshape(-1, BLOCK, wide)
    limit, middle = 2 ** (bits - 1) - 1, 2 ** (bits - 1)
    scale = (np.abs(blocks).max(axis=1) / limit).astype(np.float32)
    values = np.rint(blocks / scale[:, None]).reshape(width, wide).astype(np.int8)
    if kind == "operator":
        by_output = (values.T.astype(np.int16) + middle).astype(np.uint8).reshape(wide, -1, BLOCK)
        packed = by_output if bits == 8 else by_output[..., ::2] | (by_output[..., 1::2] << 4)
        tensors.append(numpy_helper.from_array(packed, f"w_{y}"))
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(scale.T).reshape(-1), f"s_{y}"))
        settings = {"K": width, "N": wide, "bits": bits, "block_size": BLOCK, "accuracy_level": int(level)}
        nodes.append(helper.make_node("MatMulNBits", [x, f"w_{y}", f"s_{y}"], [y], domain="com.microsoft", **settings))
        return
    inputs = [f"w_{y}", f"s_{y}"]
    tensors.append(numpy_helper.from_array(scale, f"s_{y}"))
    if kind == "signed":
        tensors.append(helper.make_tensor(f"w_{y}", SIGNED[bits], values.shape, values.ravel()))
    else:
        moved = values.astype(np.int16) + middle
        tensors.append(helper.make_tensor(f"w_{y}", UNSIGNED[bits], values.shape, moved.ravel()))
        zeros = np.full(scale.size, middle)
        tensors.append(helper.make_tensor(f"z_{y}", UNSIGNED[bits], scale.shape, zeros))
        inputs.append(f"z_{y}")
    nodes.append(helper.make_node("DequantizeLinear", inputs, [f"d_{y}"], axis=0, block_size=BLOCK))
    nodes.append(helper.make_node("MatMul", [x, f"d_{y}"], [y]))


def open_in_onnxruntime(path: Path, level: str, threads: int) -> tuple[Callable[[np.ndarray], object], str]:
    """A function that runs the graph, and the operators that the session made of it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    if level != "default":
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", level)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(options.optimized_model_filepath)
    levels = {a.i for node in optimized.graph.node for a in node.attribute if a.name == "accuracy_level"}
    made = Counter(node.op_type for node in optimized.graph.node)
    return lambda x: session.run(None, {"x": x}), f"{dict(made)}{f' level {levels}' if levels else ''}"


def open_in_openvino(path: Path, level: str, threads: int) -> tuple[Callable[[np.ndarray], object], str]:
    """The same of OpenVINO, in FP32."""
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", settings)
    made = Counter(
        f"{info['layerType'].astype(str)} {info['runtimePrecision'].astype(str)}"
        for info in (node.get_rt_info() for node in model.get_runtime_model().get_ops())
    )
    request = model.create_infer_request()
    return lambda x: request.infer({"x": x}), str(dict(made))


if __name__ == "__main__":
    raise SystemExit(main())
