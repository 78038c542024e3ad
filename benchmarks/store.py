"""What the store costs: finding one of 1,000 finished artifacts, and its share of a run's own time."""

from __future__ import annotations

import argparse
import functools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compress
from compress.core.ledger import Ledger
from compress.pipeline.store import Store

LOOKUPS = 100
RUN = (
    "data.passages=1200",
    "objective.speedup=5",
    *("model.epochs=1", "stages.distill.epochs=1", "stages.prune.recovery_epochs=1"),
    *(f"gates.{name}.on_failure=warn" for name in ("distill", "prune", "factorize", "fuse", "quantize")),
)


def main() -> int:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", type=int, default=1000)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[91.4, 55.5, 14.9], help="sizes of artifacts")
    parser.add_argument("--folder", type=Path, help="where to make the stores; a temporary folder if not given")
    parser.add_argument("--no-run", action="store_true", help="leave the run out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for megabytes in options.megabytes:
            times = look_up(Path(name) / f"{megabytes}", options.artifacts, round(megabytes * 1e6))
            print(
                f"finding one of {options.artifacts} artifacts of {megabytes} MB, every byte verified: "
                f"median {statistics.median(times):.1f} ms, slowest of {LOOKUPS} {max(times):.1f} ms",
                flush=True,
            )
        if not options.no_run:
            overhead, makers = measure_run(Path(name))
            print(
                f"a run of the quickstart on 1,200 passages: making things took {makers:.1f} s, store and ledger "
                f"{overhead:.2f} s beside it, {overhead / makers:.1%}"
            )
    return 0


def look_up(root: Path, count: int, size: int) -> list[float]:
    """Milliseconds of lookups in a store of so many artifacts.

    All are links to the files of one: a lookup reads the one artifact that it finds, and as many copies would fill the
    disk. So the file comes from memory; one that does not takes what the disk takes to read it.
    """
    store = Store(root, print)

    def make(folder: Path) -> dict[str, Any]:
        (folder / "model.safetensors").write_bytes(random.Random(0).randbytes(size))
        (folder / "tokenizer.json").write_bytes(random.Random(1).randbytes(700_000))
        for name in ("config.json", "structure.json", "tokenizer_config.json"):
            (folder / name).write_text("{}", encoding="utf-8")
        return {"parent": None, "processor": None, "notes": [], "seconds": 1.0}

    first = store.entry("artifacts", f"{0:032x}", make).folder
    text = (first / "manifest.json").read_text(encoding="utf-8")
    for number in range(1, count):
        key = f"{number:032x}"
        folder = first.with_name(key)
        folder.mkdir()
        for path in first.iterdir():
            if path.name != "manifest.json":
                os.link(path, folder / path.name)
        (folder / "manifest.json").write_text(text.replace(first.name, key), encoding="utf-8")
    draw, times = random.Random(2), []
    for _ in range(LOOKUPS):
        key = f"{draw.randrange(count):032x}"
        began = time.perf_counter()
        entry = store.entry("artifacts", key, make)
        times.append(1000 * (time.perf_counter() - began))
        assert entry.reused
    return times


def measure_run(root: Path) -> tuple[float, float]:
    """Seconds that store and ledger took in a run, and seconds that makers took: stages, exports, measurements."""
    store, made, depth = [0.0], [0.0], [0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*given: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*given, **more)
            finally:
                store[0] += time.perf_counter() - began

        return call

    def timed_entry(entry: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(entry)
        def call(self: Store, kind: str, key: str, make: Callable[[Path], Any], **more: Any) -> Any:
            def timed_make(folder: Path) -> Any:
                started, before = time.perf_counter(), store[0]
                depth[0] += 1
                facts = make(folder)
                depth[0] -= 1
                seconds = time.perf_counter() - started
                # What the store did for entries that were made inside has been counted there.
                making[0] += seconds
                if depth[0] == 0:
                    made[0] += seconds - (store[0] - before)
                return facts

            making, began = [0.0], time.perf_counter()
            result = entry(self, kind, key, timed_make, **more)
            store[0] += time.perf_counter() - began - making[0]
            return result

        return call

    Store.entry = timed_entry(Store.entry)  # type: ignore[method-assign]
    Store.forget_work = timed(Store.forget_work)  # type: ignore[method-assign]
    Ledger.append = timed(Ledger.append)  # type: ignore[method-assign]
    compress.run(compress.recipe("quickstart", *RUN, f"store={root / 'store'}"), root / "run")
    return store[0], made[0]


if __name__ == "__main__":
    sys.exit(main())
