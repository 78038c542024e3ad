"""A process that holds one opened model and serves commands from a pipe: run as `python -m compress.measure.worker`.

It imports only what its runtime needs, and sleeps on the pipe while another one is being timed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.errors import CompressError
from compress.core.runtime import Session
from compress.measure.description import build


def serve() -> int:
    """Open what the first line asks for, then answer a line with a line until the pipe closes."""
    # Libraries print; the protocol has the real standard output to itself.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, request["cpus"])
    try:
        session: Session = build(request["runtime"]).open(Path(request["folder"]))
    except CompressError as error:
        _answer(answers, {"error": str(error)})
        return error.exit_status
    batches = load_batches(Path(request["batches"]))
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        if "time" in command:
            _answer(answers, {"milliseconds": _time(session, batches, command["time"], command["warmup"])})
        else:
            logits = [session.run(batch) for batch in batches]
            np.savez(command["logits"], *[values.astype(np.float32) for values in logits])
            _answer(answers, {"rows": len(logits)})
    return 0


def save_batches(batches: list[dict[str, np.ndarray]], path: Path) -> None:
    """Write inputs so that a worker can read them without knowing the task."""
    arrays = {f"{i}.{name}": value for i, batch in enumerate(batches) for name, value in batch.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load_batches(path: Path) -> list[dict[str, np.ndarray]]:
    """What `save_batches` wrote."""
    batches: dict[int, dict[str, np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            number, _, name = key.partition(".")
            batches.setdefault(int(number), {})[name] = arrays[key]
    return [batches[i] for i in range(len(batches))]


def _time(session: Session, batches: list[dict[str, np.ndarray]], chosen: list[int], warmup: int) -> list[float]:
    for i in range(warmup):
        session.run(batches[chosen[i % len(chosen)]])
    milliseconds = []
    for index in chosen:
        start = time.perf_counter_ns()
        session.run(batches[index])
        milliseconds.append((time.perf_counter_ns() - start) / 1e6)
    return milliseconds


def _answer(stream: Any, value: dict[str, Any]) -> None:
    stream.write(json.dumps(value) + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(serve())
