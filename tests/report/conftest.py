"""One run, worked out by hand: a stage that passed, one rolled back, one unproven, one that broke, one that passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compress.core.blame import Advice, Blame, Restored, Slice
from compress.core.ledger import Row

NOT_MEASURED: dict[str, Any] = {
    "artifact": None,
    "value": None,
    "difference": None,
    "interval": None,
    "latency_ms_p50": None,
    "latency_ms_p90": None,
    "speedup": None,
    "speedup_interval": None,
    "speedup_vs_torch": None,
    "size_bytes": None,
    "parameters": None,
    "nonzero_parameters": None,
    "bytes_by_part": None,
    "seconds": 1.0,
    "reused": False,
    "reasons": (),
    "notes": (),
}


@pytest.fixture
def blame() -> Blame:
    """Two slices of which one is shown to be worse, three parts of which two count, and what to try."""
    return Blame(
        slices=(
            Slice("class", "tech", 640, 0.91, -0.0312, (-0.0421, -0.0203), True),
            Slice("length", "12 to 19 tokens", 1250, 0.9, -0.004, (-0.0101, 0.0021), False),
        ),
        compared=9,
        restored=(
            Restored("bert.encoder.layer.4.attention.self.key", 0.412, 0.0156),
            Restored("classifier", 0.08, 0.0),
            Restored("bert.pooler.dense", -0.02, 0.0),
        ),
        examples=128,
        divergence_before=0.0,
        divergence=0.0241,
        advice=Advice(("'stages.quantize.keep_float=[classifier]'",), 3.1, 1.0, 0.62),
        notes=("the model before it does not pass this limit either",),
    )


@pytest.fixture
def make_row() -> Callable[..., Row]:
    def make(stage: str, verdict: str, decision: str, **measured: Any) -> Row:
        return Row(stage=stage, verdict=verdict, decision=decision, **{**NOT_MEASURED, **measured})

    return make


@pytest.fixture
def rows(make_row: Callable[..., Row]) -> list[Row]:
    teacher = make_row(
        "teacher", "baseline", "keep", artifact="t0", value=0.92, latency_ms_p50=20.0, latency_ms_p90=22.0,
        speedup=1.0, speedup_vs_torch=1.5, size_bytes=90_000_000, parameters=22_000_000, nonzero_parameters=22_000_000,
        bytes_by_part={"embeddings": 47_000_000, "attention": 14_000_000, "ffn": 28_000_000, "other": 1_000_000},
    )  # fmt: skip
    distill = make_row(
        "distill", "passed", "keep", artifact="a1", value=0.917, difference=-0.003,
        interval=(-0.008, 0.002), latency_ms_p50=10.0, latency_ms_p90=11.0, speedup=2.0,
        speedup_interval=(1.9, 2.1), speedup_vs_torch=3.0, size_bytes=60_000_000, parameters=15_000_000,
        nonzero_parameters=15_000_000, reasons=("accuracy -0.0030 [-0.0080, +0.0020], limit -0.0100",),
        bytes_by_part={"embeddings": 47_000_000, "attention": 7_000_000, "ffn": 5_000_000, "other": 1_000_000},
    )  # fmt: skip
    heads = make_row(
        "prune_heads", "failed", "roll_back", artifact="a2", value=0.893, difference=-0.027,
        interval=(-0.036, -0.018), latency_ms_p50=5.0, latency_ms_p90=5.5, speedup=5.0,
        speedup_interval=(4.9, 5.1), speedup_vs_torch=7.5, size_bytes=55_000_000, parameters=14_000_000,
        nonzero_parameters=14_000_000, reasons=("accuracy -0.0270 [-0.0360, -0.0180], limit -0.0100: 0.0170 below",),
    )  # fmt: skip
    neurons = make_row(
        "prune_neurons", "inconclusive", "keep", artifact="a3", value=0.914, difference=-0.006,
        interval=(-0.0115, 0.0005), latency_ms_p50=8.0, latency_ms_p90=9.0, speedup=2.5,
        speedup_interval=(2.4, 2.6), speedup_vs_torch=3.75, size_bytes=50_000_000, parameters=12_500_000,
        nonzero_parameters=10_000_000, reasons=("2000 examples cannot tell",),
    )  # fmt: skip
    factorize = make_row("factorize", "error", "roll_back", reasons=("rank 192 saves nothing",))
    quantize = make_row(
        "quantize", "passed", "keep", artifact="a5", value=0.916, difference=-0.004,
        interval=(-0.009, 0.001), latency_ms_p50=2.94, latency_ms_p90=3.3, speedup=6.8,
        speedup_interval=(6.5, 7.1), speedup_vs_torch=10.2, size_bytes=18_000_000, parameters=12_500_000,
        nonzero_parameters=12_500_000, reasons=("speed-up 6.80 [6.50, 7.10], limit 4.00",),
        bytes_by_part={"embeddings": 11_800_000, "attention": 3_000_000, "ffn": 2_000_000, "pooler": 200_000},
    )  # fmt: skip
    return [teacher, distill, heads, neurons, factorize, quantize]


@pytest.fixture
def summary() -> dict[str, Any]:
    gate = {
        "max_accuracy_drop": 0.01,
        "max_recall_drop": 0.2,
        "min_speedup": None,
        "confidence": 0.95,
        "on_failure": "roll_back",
        "on_inconclusive": "keep",
    }
    stages = ("distill", "prune_heads", "prune_neurons", "factorize", "quantize")
    return {
        "recipe": "text_classification",
        "command": "compress -cn text_classification model.path=teacher",
        "task": {"name": "text_classification", "pipeline_tag": "text-classification"},
        "metric": "accuracy",
        "runtime": "onnxruntime",
        "runtime_label": "ONNX Runtime",
        "teacher": {
            "artifact": "t0",
            "validation": 0.92,
            "figures": {"f1_macro": 0.881, "matthews_correlation": 0.752},
            "test": {"accuracy": 0.918, "examples": 2000},
            "size_bytes": 90_000_000,
            "parameters": 22_000_000,
            "latency_ms_p50": 20.0,
            "latency_ms_p90": 22.0,
            "torch_ratio": 1.5,
        },
        "student": {
            "stage": "quantize",
            "artifact": "a5",
            "validation": 0.916,
            "figures": {"f1_macro": 0.874, "matthews_correlation": 0.74},
            "test": {
                "accuracy": 0.915,
                "difference": -0.003,
                "interval": [-0.0079, 0.0019],
                "examples": 2000,
                "confidence": 0.95,
            },
            "size_bytes": 18_000_000,
            "parameters": 12_500_000,
            "latency_ms_p50": 2.94,
            "latency_ms_p90": 3.3,
            "speedup": 6.8,
            "speedup_interval": [6.5, 7.1],
            "speedup_vs_torch": 10.2,
        },
        "exported": {
            "stage": "quantize",
            "artifact": "a5",
            "folder": "export",
            "why": "the last stage that passed",
            "proven": True,
        },
        "doubts": [],
        "stopped_at": None,
        "examples": {"train": 20000, "validation": 2000, "test": 2000, "groups": {"validation": 2000}},
        "gates": {stage: {**gate, "min_speedup": 4.0 if stage == "quantize" else None} for stage in stages},
        "environment": {
            "cpu": "a processor",
            "cpu_flags": ["avx2", "avx512_vnni"],
            "threads": 2,
            "platform": "Linux",
            "versions": {"onnxruntime": "1.23.2", "torch": "2.10.0"},
        },
        "seed": 0,
        "settings": {"stages": {"prune_heads": {"heads": 0.5}}},
        "seconds": 1412.0,
        "notes": [],
    }
