"""A model against itself: the interval of the ratio should contain 1 in at least nine runs of ten."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from compress.cli.config import compose_settings
from compress.core.evaluation import Latency
from compress.core.recipe import Measurement
from compress.measure.environment import allowed_cpus
from compress.measure.latency import measure_in_turns
from compress.measure.processes import Candidate
from compress.measure.statistics import speedup
from compress.measure.worker import save_batches
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE

CONFIDENCE = 0.95


def main() -> int:
    """Print one line per run and the count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder with model.onnx and config.json")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=len(allowed_cpus()))
    arguments = parser.parse_args()
    settings = compose_settings("quickstart").measurement
    measurement = Measurement(**{name: settings[name] for name in ("examples", "launches", "rounds", "warmup")})
    candidate = Candidate(runtime=OnnxRuntime(threads=arguments.threads), folder=arguments.folder, signature=SIGNATURE)
    vocabulary = json.loads((arguments.folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    contained = 0
    with tempfile.TemporaryDirectory() as temporary:
        batches = Path(temporary) / "batches.npz"
        save_batches([example(length, vocabulary) for length in np.linspace(20, 60, measurement.examples)], batches)
        for run in range(arguments.runs):
            chosen = range(measurement.examples)
            first, second = measure_in_turns([candidate] * 2, [batches] * 2, list(chosen), measurement)
            latency = Latency(rounds=second, baseline_rounds=first, launches=measurement.launches)
            ratio, (low, high) = speedup(latency, CONFIDENCE)
            contained += low <= 1 <= high
            print(f"run {run + 1}: {ratio:.3f} [{low:.3f}, {high:.3f}]", flush=True)
    print(f"1 lies inside in {contained} of {arguments.runs} runs")
    return 0


def example(length: float, vocabulary: int) -> dict[str, np.ndarray]:
    """One row of random tokens."""
    ids = np.random.default_rng(int(length)).integers(5, vocabulary, (1, int(length)))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


if __name__ == "__main__":
    sys.exit(main())
