"""How near an INT8 export is to what its matrix products alone take.

    python benchmarks/gemm_floor.py EXPORT [EXPORT ...] [--length 128] [--threads N]

For every INT8 product in a `model.onnx` a graph of nothing but `MatMulInteger` on the same shapes is timed, kernel by
kernel, by ONNX Runtime's own profiler: no rounding of inputs, no scaling of sums, no attention, no normalisation. Their
sum is the floor. The whole model is timed in the same process, in turns with it; the ratio of the two is printed, and
where the rest of the time goes. The profiler adds about 3 microseconds to every kernel, to the floor's too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from compress.measure.environment import allowed_cpus

RUNS = 200
TURNS = 10


def main() -> int:
    """Print a line per export, and a table of its kernels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", nargs="+", type=Path)
    parser.add_argument("--length", type=int, default=128, help="tokens of the one example")
    parser.add_argument("--threads", type=int, default=len(allowed_cpus()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for export in options.exports:
            report(export, options.length, options.threads, Path(name))
    return 0


def report(export: Path, length: int, threads: int, scratch: Path) -> None:
    """Time one export and its floor."""
    model = onnx.load(export / "model.onnx")
    inputs = example(model, length)
    shapes = products(model, inputs)
    floors, whole = [], []
    for _ in range(TURNS):
        floors.append(sum(profile(floor_graph(shapes), floor_inputs(shapes), threads, scratch).values()))
        whole.append(latency(model.SerializeToString(), inputs, threads))
    kernels = profile(model.SerializeToString(), inputs, threads, scratch)
    floor, total = float(np.median(floors)), float(np.median(whole))
    print(
        f"{export}: {total:.3f} ms at 1 x {length}, floor {floor:.3f} ms ({len(shapes)} products): {total / floor:.2f}"
    )
    for kind, milliseconds in sorted(kernels.items(), key=lambda item: -item[1])[:10]:
        print(f"    {kind:32s} {milliseconds:7.3f} ms")


def example(model: onnx.ModelProto, length: int) -> dict[str, np.ndarray]:
    """One example of random tokens."""
    values = {"input_ids": np.random.default_rng(0).integers(5, 1000, (1, length)), "attention_mask": None}
    ones = np.ones((1, length), dtype=np.int64)
    return {entry.name: ones if values.get(entry.name) is None else values[entry.name] for entry in model.graph.input}


def products(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[tuple[int, int, int]]:
    """(rows, in, out) of every INT8 product, its rows seen by running the model with every product's input shown."""
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    constants = {
        node.output[0]: list(node.attribute[0].t.dims) for node in model.graph.node if node.op_type == "Constant"
    }
    nodes = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    for node in nodes:
        shown.graph.output.append(helper.make_tensor_value_info(node.output[0], TensorProto.INT32, None))
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run([node.output[0] for node in nodes], inputs)
    found = []
    for node, output in zip(nodes, outputs, strict=True):
        inner, outer = weights.get(node.input[1]) or constants[node.input[1]]
        found.append((output.size // outer, inner, outer))
    return found


def floor_graph(shapes: list[tuple[int, int, int]]) -> bytes:
    """A graph of these products, side by side."""
    draw = np.random.default_rng(0)
    nodes, tensors, outputs = [], [], []
    for number, (_, inner, outer) in enumerate(shapes):
        weight = draw.integers(-127, 128, (inner, outer), dtype=np.int8)
        tensors.append(numpy_helper.from_array(weight, f"weight{number}"))
        nodes.append(helper.make_node("MatMulInteger", [f"rows{number}", f"weight{number}"], [f"sums{number}"]))
        outputs.append(helper.make_tensor_value_info(f"sums{number}", TensorProto.INT32, None))
    entries = [
        helper.make_tensor_value_info(f"rows{number}", TensorProto.UINT8, [rows, inner])
        for number, (rows, inner, _) in enumerate(shapes)
    ]
    graph = helper.make_graph(nodes, "floor", entries, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def floor_inputs(shapes: list[tuple[int, int, int]]) -> dict[str, np.ndarray]:
    """Random rows for `floor_graph`."""
    draw = np.random.default_rng(1)
    return {
        f"rows{i}": draw.integers(0, 256, (rows, inner), dtype=np.uint8) for i, (rows, inner, _) in enumerate(shapes)
    }


def latency(model: bytes, inputs: dict[str, np.ndarray], threads: int) -> float:
    """Median milliseconds of a run."""
    session = onnxruntime.InferenceSession(model, _options(threads), providers=["CPUExecutionProvider"])
    times = []
    for _ in range(RUNS):
        start = time.perf_counter_ns()
        session.run(None, inputs)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return float(np.median(times[RUNS // 10 :]))


def profile(model: bytes, inputs: dict[str, np.ndarray], threads: int, scratch: Path) -> dict[str, float]:
    """Milliseconds a run spends in each kind of kernel: sums of medians over runs."""
    options = _options(threads)
    options.enable_profiling = True
    options.profile_file_prefix = str(scratch / "profile")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for _ in range(RUNS):
        session.run(None, inputs)
    path = Path(session.end_profiling())
    events = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    durations: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["args"]["op_name"], event["name"]].append(event["dur"] / 1000)
    kernels: dict[str, float] = defaultdict(float)
    for (kind, _), times in durations.items():
        kernels[kind] += float(np.median(times))
    return dict(kernels)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return options


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
