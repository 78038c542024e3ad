"""A process that holds one opened model and serves commands from a pipe: started by `processes.Worker`.

It imports only what its runtime needs, and sleeps on the pipe while another one is being timed.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from compress.core.errors import CompressError
from compress.core.runtime import Session
from compress.core.signature import Signature
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
        signature = Signature.from_json(request["signature"])
        session: Session = build(request["runtime"]).open(Path(request["folder"]), signature)
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
            outputs = (session.run(batch).astype(np.float32) for batch in batches)
            save_arrays(((f"arr_{i}", values) for i, values in enumerate(outputs)), Path(command["outputs"]))
            _answer(answers, {"rows": len(batches)})
    return 0


def save_arrays(arrays: Iterable[tuple[str, np.ndarray]], path: Path) -> None:
    """What `numpy.savez` writes, one array after the other: they need not fit into memory together."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(values), allow_pickle=False)


def save_batches(batches: Iterable[Mapping[str, np.ndarray]], path: Path) -> None:
    """Write inputs so that a worker can read them without knowing the task."""
    save_arrays(((f"{i}.{name}", values) for i, batch in enumerate(batches) for name, values in batch.items()), path)


def load_batches(path: Path) -> Batches:
    """What `save_batches` wrote."""
    return Batches(path)


class Batches(Sequence[dict[str, np.ndarray]]):
    """Batches in a file, each read when it is asked for: together they need not fit into memory."""

    def __init__(self, path: Path) -> None:
        self._arrays = np.load(path, allow_pickle=False)
        self._names: dict[int, list[str]] = {}
        for key in self._arrays.files:
            number, _, name = key.partition(".")
            self._names.setdefault(int(number), []).append(name)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> dict[str, np.ndarray]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, np.ndarray]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, np.ndarray] | list[dict[str, np.ndarray]]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return {name: self._arrays[f"{number}.{name}"] for name in self._names[number]}


def _time(
    session: Session, batches: Sequence[Mapping[str, np.ndarray]], chosen: Sequence[int], warmup: int
) -> list[float]:
    shown = {index: batches[index] for index in chosen}
    for i in range(warmup):
        session.run(shown[chosen[i % len(chosen)]])
    milliseconds = []
    for index in chosen:
        start = time.perf_counter_ns()
        session.run(shown[index])
        milliseconds.append((time.perf_counter_ns() - start) / 1e6)
    return milliseconds


def _answer(stream: Any, value: dict[str, Any]) -> None:
    stream.write(json.dumps(value) + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(serve())
