"""The timer: one small model against itself, with the same workers, turns and interval as every measurement."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compress.cli.doctor.facts import Noise
from compress.core.evaluation import Latency
from compress.core.recipe import Measurement
from compress.core.runtime import Runtime
from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.measure.bystanders import Bystanders
from compress.measure.environment import allowed_cpus
from compress.measure.latency import measure_in_turns
from compress.measure.processes import Candidate
from compress.measure.statistics import speedup
from compress.measure.worker import save_batches

# About ten seconds in all, most of them the exporter's and the workers' start.
TURNS = Measurement(examples=8, launches=6, rounds=4, warmup=5)
CONFIDENCE = 0.95
HIDDEN, NEURONS, BLOCKS = 384, 1536, 2
LENGTHS = (16, 24, 32, 40, 48, 56, 64, 72)
SIGNATURE = Signature(
    inputs=(Port("states", (BATCH, SEQUENCE, "hidden"), "float32"),),
    output=Port("output", (BATCH, "hidden"), "float32"),
    mask=None,
    fixed={"hidden": HIDDEN},
)


class Products(nn.Module):
    """The products that a small encoder spends its time on, in so many pairs: to NEURONS and back."""

    def __init__(self, pairs: int) -> None:
        super().__init__()
        sizes = [(HIDDEN, NEURONS), (NEURONS, HIDDEN)] * pairs
        self.layers = nn.ModuleList(nn.Linear(*size) for size in sizes)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """(rows, length, HIDDEN) to (rows, HIDDEN)."""
        states = inputs["states"]
        for layer in self.layers:
            states = torch.relu(layer(states))
        return states[:, 0]


def measure_noise(runtime: Runtime) -> Noise:
    """Export a model of 2.4 million values, time it against itself on `runtime`. Takes the machine-wide lock."""
    generator = np.random.default_rng(0)
    states = [generator.standard_normal((1, length, HIDDEN), dtype=np.float32) for length in LENGTHS]
    with tempfile.TemporaryDirectory(prefix="compress-doctor-") as name:
        folder = Path(name)
        # Two rows, or the exporter freezes their number.
        example = {"states": torch.from_numpy(np.concatenate([states[-1]] * 2))}
        runtime.export_part(Products(BLOCKS).eval(), SIGNATURE, example, folder)
        save_batches([{"states": value} for value in states], folder / "batches.npz")
        candidate = Candidate(runtime=runtime, folder=folder, signature=SIGNATURE)
        watch, chosen = Bystanders(allowed_cpus()[: runtime.threads]), list(range(len(states)))
        first, second = measure_in_turns([candidate] * 2, [folder / "batches.npz"] * 2, chosen, TURNS, watch)
    latency = Latency(
        rounds=second, baseline_rounds=first, launches=TURNS.launches, disturbed_rounds=watch.disturbed_rounds
    )
    return describe_noise(latency)


def describe_noise(latency: Latency) -> Noise:
    """What two series of the same model show. Rounds of both in the order in which they were measured."""
    ratio, interval = speedup(latency, CONFIDENCE)
    both = np.stack([np.asarray(latency.baseline_rounds), np.asarray(latency.rounds)])
    half = both.shape[1] // 2
    before, after = np.median(both[:, :half], axis=1).sum(), np.median(both[:, -half:], axis=1).sum()
    p50, p90 = np.quantile(both, [0.5, 0.9], axis=1)
    return Noise(
        ratio=ratio,
        interval=interval,
        drift=float(after / before),
        spread=float(np.median(p90 / p50)),
        milliseconds=float(np.median(both)),
        disturbed=None if latency.disturbed_rounds is None else latency.disturbed_rounds / len(latency.rounds),
    )


def timer_step_ns(tries: int = 1000) -> int:
    """The least time that the clock of every measurement is seen to go on by, in nanoseconds."""
    steps = []
    for _ in range(tries):
        start = now = time.perf_counter_ns()
        while now == start:
            now = time.perf_counter_ns()
        steps.append(now - start)
    return min(steps)
