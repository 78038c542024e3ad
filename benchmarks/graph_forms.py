"""Which form of an INT8 encoder's graph ONNX Runtime executes fastest: each alone against one control.

    python benchmarks/graph_forms.py [FORM ...] [--control FORM] [--length 128] [--rounds 30]

Graphs of 6 layers, 384 wide, 12 heads, 1536 neurons (MiniLM-L6's shape) with random weights, which no kernel's speed
depends on, written operator by operator, so that a form can be tried before there is an exporter for it. Each runs in a
process of its own, in turns. Prints the ratio of its time to the control's, with a 95% interval.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compress.core.recipe import Measurement
from compress.measure.environment import allowed_cpus
from compress.measure.latency import measure_in_turns
from compress.measure.processes import Candidate
from compress.measure.worker import save_batches
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE

LAYERS, WIDTH, HEADS, NEURONS, WORDS = 6, 384, 12, 1536, 1000
FLAT = np.array([-1, WIDTH])
PER_TURN, RESAMPLES = 20, 4999


@dataclass(frozen=True)
class Form:
    """attention: `parts`, `operator` (three dimensions) or `operator_4d`. mask: `float`, `boolean` or `lengths`.
    split: one product for query, key and value, else three. products: `dynamic`, or static as `matmul` or `gemm` (with
    the bias inside). hidden: the FFN's inner tensor `dynamic`, `static`, or `one_gemm` (int8 from product to product).
    addition: of what went past a block; ONNX Runtime fuses an `Add` with the normalisation after it.
    """

    attention: str = "operator"
    mask: str = "float"
    split: bool = True
    products: str = "dynamic"
    hidden: str = "dynamic"
    activation: str = "Relu"
    addition: str = "Sum"

    @property
    def flat(self) -> bool:
        """Whether all tokens are rows of one matrix: the operator Gemm has two dimensions."""
        return "gemm" in self.products + self.hidden


EXPORTED = Form()
FORMS = {
    "exported": EXPORTED,
    "parts": replace(EXPORTED, attention="parts"),
    "four_dimensions": replace(EXPORTED, attention="operator_4d"),
    "boolean_mask": replace(EXPORTED, mask="boolean"),
    "lengths": replace(EXPORTED, mask="lengths"),
    "three_products": replace(EXPORTED, split=False),
    "static_matmul": replace(EXPORTED, products="matmul", hidden="matmul"),
    "static_gemm": replace(EXPORTED, products="gemm", hidden="one_gemm"),
    "hidden_gemm": replace(EXPORTED, hidden="one_gemm"),
    "hidden_static": replace(EXPORTED, hidden="static"),
    "gelu": replace(EXPORTED, activation="Gelu"),
    "fused_norm": replace(EXPORTED, addition="Add"),
}


@dataclass
class Graph:
    """Nodes and tensors, added one by one."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, onnx.TensorProto] = field(default_factory=dict)
    draw: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def constant(self, name: str, value: Any) -> str:
        """A tensor of this name."""
        self.tensors[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def add(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """A node; the names of its outputs. Inputs that are no names become constants."""
        number = len(self.nodes)
        names = [
            each if isinstance(each, str) else self.constant(f"c{number}_{i}", each) for i, each in enumerate(inputs)
        ]
        made = [f"{kind}{number}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, **attributes))
        return made[0] if outputs == 1 else made


Quantized = tuple[str, Any, Any]


def product(graph: Graph, inputs: str | Quantized, inner: int, outer: int, products: str) -> str:
    """An INT8 product with its bias. inputs: float, or (values, scale, zero point)."""
    weight = graph.draw.integers(-127, 128, (inner, outer), dtype=np.int8)
    scale, bias = np.full(outer, 7e-4, np.float32), graph.draw.normal(size=outer).astype(np.float32) * 0.05
    if products == "dynamic":
        given = inputs if isinstance(inputs, tuple) else graph.add("DynamicQuantizeLinear", inputs, outputs=3)
        values, step, zero = given
        sums = graph.add("Cast", graph.add("MatMulInteger", values, weight, zero), to=TensorProto.FLOAT)
        return graph.add("Add", graph.add("Mul", sums, graph.add("Mul", step, scale)), bias)
    values, step, zero = inputs if isinstance(inputs, tuple) else rounded(graph, inputs, 0.03, 128)
    restored = graph.add("DequantizeLinear", values, step, zero)
    dense = graph.add("DequantizeLinear", weight, scale, np.zeros(outer, np.int8), axis=1)
    if products == "matmul":
        return graph.add("Add", graph.add("MatMul", restored, dense), bias)
    steps = scale * step
    whole = np.round(bias / steps).astype(np.int32)
    return graph.add("Gemm", restored, dense, graph.add("DequantizeLinear", whole, steps, axis=0))


def rounded(graph: Graph, inputs: str, scale: float, zero: int) -> Quantized:
    """Inputs in uint8 by a fixed range."""
    step, point = np.float32(scale), np.uint8(zero)
    return graph.add("QuantizeLinear", inputs, step, point), step, point


def attention(graph: Graph, form: Form, states: str, mask: str) -> str:
    """Query, key, value and what they make, (batch, length, width)."""
    apart = np.array([0, 0, HEADS, WIDTH // HEADS])
    if form.split:
        together = product(graph, states, WIDTH, 3 * WIDTH, form.products)
        together = graph.add("Reshape", together, "in_three") if form.flat else together
        parts = graph.add("Split", together, outputs=3, axis=2, num_outputs=3)
    else:
        once = graph.add("DynamicQuantizeLinear", states, outputs=3)
        parts = [product(graph, tuple(once), WIDTH, WIDTH, form.products) for _ in range(3)]
    if form.attention == "operator":
        given = [*parts, "", "", "", mask] if form.mask == "lengths" else [*parts, mask]
        found = graph.add("Attention", *given, q_num_heads=HEADS, kv_num_heads=HEADS, scale=1.0)
        return graph.add("Reshape", found, FLAT) if form.flat else found
    query, key, value = (graph.add("Reshape", part, apart) for part in parts)
    query, value = (graph.add("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
    if form.attention == "operator_4d":
        found = graph.add("Attention", query, graph.add("Transpose", key, perm=[0, 2, 1, 3]), value, mask, scale=1.0)
    else:
        scores = graph.add("Add", graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 3, 1])), mask)
        found = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    return graph.add("Reshape", graph.add("Transpose", found, perm=[0, 2, 1, 3]), np.array([0, 0, -1]))


def feed_forward(graph: Graph, form: Form, states: str) -> str:
    """The FFN."""
    first = "gemm" if form.hidden == "one_gemm" else form.products
    inner = graph.add(form.activation, product(graph, states, WIDTH, NEURONS, first))
    if form.hidden in ("dynamic", "matmul"):
        return product(graph, inner, NEURONS, WIDTH, form.products)
    last = "gemm" if form.hidden == "one_gemm" else "matmul"
    return product(graph, rounded(graph, inner, 0.02, 0), NEURONS, WIDTH, last)


def write(form: Form, folder: Path) -> Path:
    """The folder with a form's `model.onnx`."""
    graph = Graph()
    mask = mask_of(graph, form)
    states = norm(graph, graph.add("Gather", graph.draw.normal(size=(WORDS, WIDTH)).astype(np.float32), "input_ids"))
    # What Reshape gives back: batch, length, and the rest.
    rows = [graph.add("Shape", "input_ids", end=1), graph.add("Shape", "input_ids", start=1)]
    graph.add("Concat", *rows, np.array([-1]), axis=0)
    graph.nodes[-1].output[0] = "in_three"
    states = graph.add("Reshape", states, FLAT) if form.flat else states
    for _ in range(LAYERS):
        found = product(graph, attention(graph, form, states, mask), WIDTH, WIDTH, form.products)
        states = norm(graph, graph.add(form.addition, found, states))
        states = norm(graph, graph.add(form.addition, feed_forward(graph, form, states), states))
    states = graph.add("Reshape", states, "in_three") if form.flat else states
    graph.add("Gather", states, np.array(0), axis=1)
    graph.nodes[-1].output[0] = "logits"
    entries = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", WIDTH])
    body = helper.make_graph(graph.nodes, "form", entries, [output], list(graph.tensors.values()))
    folder.mkdir()
    opset = helper.make_opsetid("", 24 if form.mask == "lengths" else 23)
    onnx.save(helper.make_model(body, opset_imports=[opset], ir_version=10), folder / "model.onnx")
    return folder


def norm(graph: Graph, values: str) -> str:
    """A normalisation."""
    return graph.add("LayerNormalization", values, np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32))


def mask_of(graph: Graph, form: Form) -> str:
    """What attention is told of padding, made once for all layers."""
    if form.mask == "lengths":
        return graph.add("ReduceSum", "attention_mask", np.array([1]), keepdims=0)
    if form.mask == "boolean":
        mask = graph.add("Cast", "attention_mask", to=TensorProto.BOOL)
    else:
        ones = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
        mask = graph.add("Mul", graph.add("Sub", np.float32(1), ones), np.finfo(np.float32).min)
    mask = graph.add("Unsqueeze", mask, np.array([1, 2]))
    if form.attention == "parts":
        return mask
    rows = graph.add("Concat", np.array([1, 1]), graph.add("Shape", mask, start=3), np.array([1]), axis=0)
    return graph.add("Expand", mask, rows)


def main() -> int:
    """Print a line per form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("forms", nargs="*", default=[], help=f"of {', '.join(FORMS)}; all, where none is named")
    parser.add_argument("--control", default="exported", choices=FORMS)
    parser.add_argument("--length", type=int, default=128, help="tokens of the one example")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    unknown = sorted(set(options.forms) - set(FORMS))
    if unknown:
        parser.error(f"no form is called {', '.join(unknown)}; there are {', '.join(FORMS)}")
    names = [options.control, *(name for name in options.forms or FORMS if name != options.control)]
    shape = (1, options.length)
    ids = np.random.default_rng(0).integers(0, WORDS, shape)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        save_batches([{"input_ids": ids, "attention_mask": np.ones(shape, np.int64)}], root / "batches.npz")
        runtime = OnnxRuntime(threads=len(allowed_cpus()))
        candidates = [
            Candidate(runtime=runtime, folder=write(FORMS[form], root / form), signature=SIGNATURE) for form in names
        ]
        # A process that has just been woken is slow at first: long turns.
        turns = Measurement(examples=1, launches=3, rounds=-(-options.rounds // 3), warmup=5)
        rounds = measure_in_turns(candidates, [root / "batches.npz"] * len(names), [0] * PER_TURN, turns)
    turns_ms = np.median(np.asarray(rounds), axis=2)
    drawn = np.random.default_rng(0).integers(0, turns_ms.shape[1], (RESAMPLES, turns_ms.shape[1]))
    for form, times in zip(names, turns_ms, strict=True):
        # Round by round: the machine's clock changes between them by more than the forms differ.
        ratios = times / turns_ms[0]
        low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
        print(f"{form:16s} {np.median(times):7.3f} ms  {np.median(ratios):.3f} [{low:.3f}, {high:.3f}]")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
