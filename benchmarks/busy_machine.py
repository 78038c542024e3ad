"""What a busy machine makes of a measurement: a model against itself, and a pair whose ratio is known, alone and beside
others, with the workers, turns and rules of every run.

A claim is what a gate goes by: the lower end of the interval, "at least so many times as fast". It is wrong where it
lies above the truth, which should happen to one in twenty. The truth of a model against itself is 1; that of the pair
is the median of its runs alone. `ignoring` counts the wrong claims if nobody looked at who else was there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import code_facts, commit
from compress.cli.config import compose_settings
from compress.cli.doctor.noise import HIDDEN, LENGTHS, SIGNATURE, Products
from compress.core.evaluation import Latency
from compress.core.recipe import Measurement
from compress.measure.bystanders import Bystanders
from compress.measure.environment import allowed_cpus, describe_processor, versions
from compress.measure.latency import measure_in_turns
from compress.measure.processes import Candidate
from compress.measure.statistics import speedup
from compress.measure.worker import save_batches
from compress.runtimes.onnxruntime.runtime import OnnxRuntime

RESULTS = Path(__file__).parent / "results" / "busy_machine.json"
CONFIDENCE = 0.95
LARGE, SMALL = 6, 2
# What runs beside, none where nothing does.
OTHERS = {
    "alone": None,
    "a spinning process": "while True: pass",
    "a spinning process of nice 19": "import os; os.nice(19)\nwhile True: pass",
    "memory traffic": "import numpy as np; a = np.ones(2**24); b = np.empty_like(a)\nwhile True: np.copyto(b, a)",
}


@dataclass(frozen=True)
class Run:
    """One measurement. disturbed: whether a run would say that the machine was busy, and claim nothing."""

    pair: str
    beside: str
    ratio: float
    low: float
    high: float
    disturbed: bool | None
    disturbed_rounds: int | None
    repeated_rounds: int
    foreign_share: float | None
    seconds: float


def main() -> int:
    """Print a line for each run, and write the results."""
    settings = compose_settings("quickstart").measurement
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="of each pair beside each of the others")
    parser.add_argument("--threads", type=int, default=len(allowed_cpus()))
    for name, kind in (("launches", int), ("rounds", int), ("retry_seconds", float)):
        told = f"measurement.{name}; the recipes' own, if not given"
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(settings, name), help=told)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    measurement = Measurement(
        examples=len(LENGTHS),
        launches=arguments.launches,
        rounds=arguments.rounds,
        warmup=5,
        retry_seconds=arguments.retry_seconds,
    )
    began, found = time.monotonic(), []
    with tempfile.TemporaryDirectory() as temporary:
        large, small, batches = prepare(Path(temporary), OnnxRuntime(threads=arguments.threads))
        pairs = {"a model against itself": (large, large), "a pair": (large, small)}
        # The cases take turns: a machine's hours differ.
        for _ in range(arguments.runs):
            for beside, program in OTHERS.items():
                for pair, candidates in pairs.items():
                    with running(program):
                        found.append(measured(pair, beside, candidates, batches, measurement))
                    print(json.dumps(asdict(found[-1])), flush=True)
    written = {
        "command": f"python -m benchmarks.busy_machine {' '.join(typed(arguments))}",
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {**describe_processor(), "processors": len(allowed_cpus()), "threads": arguments.threads},
        "versions": {"python": platform.python_version(), **versions(("numpy", "torch", "onnxruntime"))},
        **code_facts("busy_machine"),
        "measurement": asdict(measurement),
        "confidence": CONFIDENCE,
        "seconds": round(time.monotonic() - began, 1),
        "rows": rows_of(found),
        "runs": [asdict(run) for run in found],
    }
    arguments.results.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    for row in written["rows"]:
        print(row)
    return 0


def typed(arguments: argparse.Namespace) -> Iterator[str]:
    """What makes the same measurements again, wherever they are written."""
    for name, value in vars(arguments).items():
        if name != "results":
            yield f"--{name.replace('_', '-')} {value:g}"


def prepare(folder: Path, runtime: OnnxRuntime) -> tuple[Candidate, Candidate, Path]:
    """A large and a small model, exported, and what both are shown."""
    generator, made = np.random.default_rng(0), []
    states = [generator.standard_normal((1, length, HIDDEN), dtype=np.float32) for length in LENGTHS]
    for pairs in (LARGE, SMALL):
        place = folder / str(pairs)
        place.mkdir()
        # Two rows, or the exporter freezes their number.
        example = {"states": torch.from_numpy(np.concatenate([states[-1]] * 2))}
        runtime.export_part(Products(pairs).eval(), SIGNATURE, example, place)
        made.append(Candidate(runtime=runtime, folder=place, signature=SIGNATURE))
    save_batches([{"states": value} for value in states], folder / "batches.npz")
    return made[0], made[1], folder / "batches.npz"


@contextlib.contextmanager
def running(program: str | None) -> Iterator[None]:
    """Inside, a process runs this Python beside us."""
    if program is None:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        time.sleep(0.5)
        try:
            yield
        finally:
            process.kill()


def measured(pair: str, beside: str, candidates: Sequence[Candidate], batches: Path, measurement: Measurement) -> Run:
    """One measurement of the second of the two against the first."""
    began = time.monotonic()
    bystanders = Bystanders(allowed_cpus()[: candidates[0].runtime.threads])
    chosen = list(range(measurement.examples))
    first, second = measure_in_turns(candidates, [batches] * 2, chosen, measurement, bystanders)
    latency = Latency(rounds=second, baseline_rounds=first, launches=measurement.launches)
    ratio, (low, high) = speedup(latency, CONFIDENCE)
    return Run(
        pair=pair,
        beside=beside,
        ratio=ratio,
        low=low,
        high=high,
        disturbed=bystanders.disturbed,
        disturbed_rounds=bystanders.disturbed_rounds,
        repeated_rounds=bystanders.repeated_rounds,
        foreign_share=bystanders.share,
        seconds=round(time.monotonic() - began, 1),
    )


def rows_of(runs: Sequence[Run]) -> list[dict[str, object]]:
    """What the runs of each pair beside each of the others come to. The truth of a pair is only known where it was
    measured alone, undisturbed."""
    quiet = [run.ratio for run in runs if run.pair == "a pair" and run.beside == "alone" and not run.disturbed]
    truths = {"a model against itself": 1.0, "a pair": float(np.median(quiet)) if quiet else None}
    made: list[dict[str, object]] = []
    for pair, beside in dict.fromkeys((run.pair, run.beside) for run in runs):
        of_case = [run for run in runs if (run.pair, run.beside) == (pair, beside)]
        claims, truth = [run for run in of_case if not run.disturbed], truths[pair]
        made.append(
            {
                "pair": pair,
                "beside": beside,
                "truth": truth,
                "runs": len(of_case),
                "not_measured": len(of_case) - len(claims),
                "claims": len(claims),
                "wrong_claims": None if truth is None else sum(run.low > truth for run in claims),
                "ignoring": None if truth is None else sum(run.low > truth for run in of_case),
                "contained": None if truth is None else sum(run.low <= truth <= run.high for run in claims),
                "median_ratio_of_claims": float(np.median([run.ratio for run in claims])) if claims else None,
                "median_ratio_of_all": float(np.median([run.ratio for run in of_case])),
                "rounds_taken_again": sum(run.repeated_rounds for run in of_case),
                "median_seconds": float(np.median([run.seconds for run in of_case])),
            }
        )
    return made


if __name__ == "__main__":
    sys.exit(main())
