"""What `compress.Predictor` is worth against a plain loop over a session, and what its cache and its import cost.

    python benchmarks/predictor.py --export OUT/export --texts sample.txt

The same texts are asked for in calls of 512: by a loop over batches of 32 as they come, by a loop over single texts,
and by the Predictor; each in a process of its own, in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from plain_loop import PlainLoop

from compress.core.recipe import Measurement
from compress.deploy.predictor import Predictor
from compress.deploy.settings import Settings
from compress.deploy.tuning.aim import CONFIDENCE, Measured, compare
from compress.deploy.tuning.forecast import microseconds
from compress.deploy.tuning.sample import read_texts
from compress.deploy.tuning.trial import SIGNATURE, Serve, Trial, write_calls
from compress.measure.environment import allowed_cpus, describe_processor, versions
from compress.measure.latency import measure_each_in_turns

IMPORT = (
    "import time; start = time.perf_counter(); import compress; compress.Predictor; print(time.perf_counter() - start)"
)


def main() -> int:
    """Measure, print, and write what was found where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, required=True, help="of a text classifier, on ONNX Runtime")
    parser.add_argument("--texts", type=Path, required=True, help="one a line")
    parser.add_argument("--count", type=int, default=512, help="texts of a call")
    parser.add_argument("--threads", type=int, default=len(allowed_cpus()), help="of every session (%(default)s)")
    parser.add_argument("--launches", type=int, default=4, help="how often every process is started anew")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each process per launch")
    parser.add_argument("--out", type=Path, help="a JSON file for what was found")
    arguments = parser.parse_args()
    texts = read_texts(arguments.texts, pairs=False)[: arguments.count]
    threads = arguments.threads
    served = Predictor(arguments.export, threads=threads).settings
    ways = {
        "loop, batches of 32": PlainLoop(threads, 32),
        "loop, one text": PlainLoop(threads, 1),
        f"Predictor, {served.batching.batch_size} at a time": Serve(served.to_json()),
    }
    measurement = Measurement(examples=1, launches=arguments.launches, rounds=arguments.rounds, warmup=0)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "calls.npz"
        write_calls(texts, len(texts), path)
        trials = [Trial(way, arguments.export, SIGNATURE) for way in ways.values()]  # type: ignore[arg-type]
        rounds = measure_each_in_turns(trials, [path] * len(trials), [[0]] * len(trials), measurement)
    measured = [_measured(served, values, measurement.launches, len(texts)) for values in rounds]
    found = {}
    for name, one in zip(ways, measured, strict=True):
        result = compare(measured[0], one, CONFIDENCE)
        found[name] = {"per_second": one.throughput, "times": result.ratio, "interval": list(result.interval)}
        low, high = result.interval
        print(
            f"{name}: {one.throughput:.0f} texts per second, {result.ratio:.2f} [{low:.2f}, {high:.2f}] times the first"
        )
    costs = {"hit_us": _hit(arguments.export, texts[0]), "import_s": _import_seconds()}
    print(f"a hit: {costs['hit_us']:.1f} microseconds; import: {costs['import_s']:.2f} s")
    if arguments.out is not None:
        about = {
            **describe_processor(),
            "processors": threads,
            "versions": versions(("onnxruntime", "tokenizers", "numpy")),
        }
        arguments.out.write_text(
            json.dumps({"throughput": found, **costs, "machine": about}, indent=2), encoding="utf-8"
        )
    return 0


def _measured(settings: Settings, rounds: object, launches: int, texts: int) -> Measured:
    return Measured(settings=settings, rounds=rounds, launches=launches, examples=texts)  # type: ignore[arg-type]


def _hit(export: Path, text: object) -> float:
    """The median of a call that the cache answers."""
    predictor = Predictor(export, cache_bytes=1_000_000)
    predictor([text])
    return microseconds(lambda: predictor([text]), 2000)


def _import_seconds() -> float:
    """The median of five new processes."""
    times = [float(subprocess.check_output([sys.executable, "-c", IMPORT], text=True)) for _ in range(5)]
    return float(np.round(statistics.median(times), 3))


if __name__ == "__main__":
    raise SystemExit(main())
