"""What it costs a measurement in turns when the threads of one process still look for work while the next is timed.

    python benchmarks/turns.py --export outputs/quickstart/DATE/export

Two processes open the same export and take turns, once each turn at once after the other, once as `compress` does it:
when no thread of the process before runs any more. A stall is a call that takes 2 ms more than the median.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np

from compress.measure.environment import allowed_cpus
from compress.measure.processes import Candidate, Worker, one_measurement_at_a_time
from compress.measure.worker import save_batches
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE

CALLS, WARMUP, STALL_MS = 40, 3, 2.0


def main() -> int:
    """Measure both ways in turns, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, required=True, help="a folder with model.onnx of a text classifier")
    parser.add_argument("--tokens", type=int, default=32, help="of the one example")
    parser.add_argument("--launches", type=int, default=3, help="how often both processes are started anew")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each process per launch")
    arguments = parser.parse_args()
    vocabulary = json.loads((arguments.export / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    ids = np.random.default_rng(0).integers(0, vocabulary, (1, arguments.tokens))
    runtime = OnnxRuntime(threads=len(allowed_cpus()))
    candidate = Candidate(runtime=runtime, folder=arguments.export, signature=SIGNATURE)
    found: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as temporary, one_measurement_at_a_time():
        path = Path(temporary) / "batches.npz"
        save_batches([{"input_ids": ids, "attention_mask": np.ones_like(ids)}], path)
        for _ in range(arguments.launches):
            for waits, values in found.items():
                values += _in_turns(candidate, path, arguments.rounds, waits=waits)
    for waits, values in found.items():
        times = np.array(values)
        stalls = (times > np.median(times) + STALL_MS).mean()
        print(
            f"{'waiting' if waits else 'at once'}: p50 {np.median(times):.3f}, p90 {np.quantile(times, 0.9):.3f}, "
            f"mean {times.mean():.3f} ms; {stalls:.1%} of {len(times)} calls stalled"
        )
    return 0


def _in_turns(candidate: Candidate, batches: Path, rounds: int, *, waits: bool) -> list[float]:
    values: list[float] = []
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(candidate, batches)) for _ in range(2)]
        for turn in range(rounds):
            for worker in workers[:: 1 if turn % 2 == 0 else -1]:
                values += worker.ask({"time": [0] * CALLS, "warmup": WARMUP})["milliseconds"]
                if waits:
                    worker.wait_until_asleep()
    return values


if __name__ == "__main__":
    raise SystemExit(main())
