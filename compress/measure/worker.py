"""A process that holds one opened model and serves commands from a pipe: started by `processes.Worker`.

It imports only what its runtime needs, and sleeps on the pipe while another one is being timed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from compress.core.errors import CompressError
from compress.core.processors import use_only
from compress.core.runtime import Session
from compress.core.signature import Decoding, Signature
from compress.measure.description import build
from compress.measure.kept import kept
from compress.measure.waits import read_counters, waits_between


def serve() -> int:
    """Open what the first line asks for, then answer a line with a line until the pipe closes."""
    # Libraries print; the protocol has the real standard output to itself.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    use_only(request["cpus"])
    try:
        signature = Signature.from_json(request["signature"])
        session: Session = build(request["runtime"]).open(Path(request["folder"]), signature)
    except CompressError as error:
        _answer(answers, {"error": str(error)})
        return error.exit_status
    batches = load_batches(Path(request["batches"]))
    use = OneCallUse(session) if signature.decoding is None else RequestUse(session, signature.decoding)
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        if "time" in command:
            _answer(answers, _time(use, batches, command["time"], command["warmup"]))
        elif "continue" in command:
            assert signature.decoding is not None
            _answer(
                answers, {"tokens": [_continue(session, signature.decoding, batches[i]) for i in command["continue"]]}
            )
        else:
            outputs = (kept(signature, session.run(batch), batch).astype(np.float32) for batch in batches)
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


class OneCallUse:
    """What is timed: one call for a batch."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, batch: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """Milliseconds of the whole, and until there is a first answer: the same."""
        start = time.perf_counter_ns()
        self._session.run(batch)
        taken = (time.perf_counter_ns() - start) / 1e6
        return taken, taken


class RequestUse:
    """What is timed: a request to go on with a text. The prompt is the beginning of an example, and what comes next is
    what the model finds likeliest."""

    def __init__(self, session: Session, decoding: Decoding) -> None:
        self._session, self._decoding = session, decoding

    def __call__(self, batch: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """Milliseconds of the whole request, and until its first token."""
        prompt = np.ascontiguousarray(next(iter(batch.values()))[:, : self._decoding.prompt_tokens])
        start = time.perf_counter_ns()
        tokens = greedy(self._session, prompt)
        next(tokens)
        first = time.perf_counter_ns()
        for _ in range(self._decoding.new_tokens - 1):
            next(tokens)
        return (time.perf_counter_ns() - start) / 1e6, (first - start) / 1e6


def greedy(session: Session, prompt: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each next token, the likeliest, (rows, 1), and the logits that it was chosen by, (rows, vocabulary); without end.
    prompt: (rows, length), without padding."""
    reader, tokens = session.reader(), prompt
    mask = np.ones(prompt.shape, dtype=np.int64)
    while True:
        logits = reader.read(tokens, mask)
        tokens = logits.argmax(axis=-1)[:, None]
        yield tokens, logits
        mask = np.pad(mask, ((0, 0), (0, 1)), constant_values=1)


def _continue(session: Session, decoding: Decoding, batch: Mapping[str, np.ndarray]) -> tuple[list[int], list[int]]:
    """The beginning of an example, and the tokens that the model goes on with, always the likeliest."""
    prompt = np.ascontiguousarray(next(iter(batch.values()))[:, : decoding.prompt_tokens])
    told = [
        int(tokens[0, 0]) for _, (tokens, _) in zip(range(decoding.new_tokens), greedy(session, prompt), strict=False)
    ]
    return prompt[0].tolist(), told


def _time(
    use: OneCallUse | RequestUse, batches: Sequence[Mapping[str, np.ndarray]], chosen: Sequence[int], warmup: int
) -> dict[str, Any]:
    shown = {index: batches[index] for index in chosen}
    for i in range(warmup):
        use(shown[chosen[i % len(chosen)]])
    before, began = read_counters(), time.perf_counter_ns()
    taken = [use(shown[index]) for index in chosen]
    wall_ns = time.perf_counter_ns() - began
    waits = waits_between(before, read_counters(), wall_ns)
    return {
        "waits": None if waits is None else [waits.waited_ns, waits.wall_ns],
        "milliseconds": [whole for whole, _ in taken],
        "first": [first for _, first in taken],
        "peak_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    """The most memory that this process ever had; 0 where the system does not say."""
    # What `getrusage` tells begins with what the process had that started this one.
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8", errors="replace"))
    return 0 if found is None else 1024 * int(found.group(1))


def _answer(stream: Any, value: dict[str, Any]) -> None:
    stream.write(json.dumps(value) + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(serve())
