"""A run that is killed again and again ends as one that never was; a kill while it publishes leaves nothing torn."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compress.core.content import sha256_of
from compress.core.evaluation import BUSY
from compress.pipeline.store import MANIFEST, find_damage

KILLS = 10
# Times, and what follows from them alone.
TIMES = {
    *("seconds", "spent", "reused", "latency_ms_p50", "latency_ms_p90"),
    *("speedup", "speedup_interval", "speedup_vs_torch", "disturbance"),
}
KINDS = ("artifacts", "exports", "evaluations")

# Counts what changes under a folder; after the number-th change, and some time, the process kills itself.
PROGRAM = """
import os, signal, sys, threading, time

sys.argv = {command!r}
sys.stdout = sys.stderr = open({log!r}, "a")
left, changed = [{number}], [0]
changes = {{"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}}

def die():
    time.sleep({pause})
    os.kill(os.getpid(), signal.SIGKILL)

def watch(event, arguments):
    opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if (opened or event in changes) and {folder!r} in str(arguments[0]):
        changed[0] += 1
        if changed[0] == {number}:
            threading.Thread(target=die).start() if {pause} else die()

sys.addaudithook(watch)
import compress.methods.training.loop
# A checkpoint after almost every step.
compress.methods.training.loop.CHECKPOINT_SECONDS = 0.05
from compress.cli.commands.run import main
try:
    main()
except SystemExit as done:
    status = done.code
with open({count!r}, "w") as file:
    file.write(str(changed[0]))
os._exit(status)
"""


class Place:
    """A store, a run's folder, and processes that run in it: forked from one that has imported everything."""

    def __init__(self, root: Path, model: Path, data: Path, context: Any) -> None:
        self.root, self.store, self.folder, self._context = root, root / "store", root / "run", context
        self._settings = [
            *("compress", "-cn", "text_classification", f"model.path={model}", f"data.train={data}"),
            *(f"store={self.store}", f"hydra.run.dir={self.folder}", "data.max_length=16", "order=[distill,quantize]"),
            *("stages.distill.layers=2", "stages.distill.epochs=15", "stages.distill.imitation.shortest_epoch=1"),
            *("measurement.launches=1", "measurement.rounds=1", "measurement.examples=2", "measurement.warmup=0"),
            "measurement.retry_seconds=0",
            *("gates.distill.on_failure=warn", "gates.quantize.on_failure=warn", "runtime.threads=1", "device=cpu"),
        ]

    def start(self, number: int = -1, *, under: Path, pause: float = 0.0) -> int:
        """Run to the end, or until `pause` seconds after the number-th change under a folder. The exit status."""
        words = {"command": self._settings, "log": str(self.root / "log"), "number": number, "pause": pause}
        program = PROGRAM.format(**words, folder=str(under), count=str(self.root / "count"))
        process = self._context.Process(target=exec, args=(program, {}))
        process.start()
        process.join()
        return int(process.exitcode)

    def finish(self, under: Path) -> int:
        """Run to the end. How many changes there were under a folder."""
        status = self.start(under=under)
        assert status == 0, (self.root / "log").read_text(encoding="utf-8")[-3000:]
        return int((self.root / "count").read_text(encoding="utf-8"))

    def rows(self) -> list[dict[str, Any]]:
        """The ledger, without times."""
        lines = (self.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [{name: value for name, value in json.loads(line).items() if name not in TIMES} for line in lines]
        for row in rows:
            for told in ("notes", "reasons", "findings"):
                row[told] = [text for text in row[told] if not text.startswith(("while this was timed", BUSY))]
        return rows

    def exported(self) -> dict[str, str]:
        """The hashes of the exported models."""
        return {name: sha256_of(self.folder / "export" / name) for name in ("model.safetensors", "model.onnx")}

    def manifests(self) -> dict[Path, int]:
        """When each entry of the store was written. All must be whole."""
        entries = [entry for kind in KINDS for entry in (self.store / kind).glob("[!.]*")]
        assert [find_damage(entry) for entry in entries] == [None] * len(entries)
        return {entry: (entry / MANIFEST).stat().st_mtime_ns for entry in entries}

    def require_nothing_torn(self) -> None:
        """What the run's folder holds is whole."""
        if (self.folder / "export").exists():
            assert find_damage(self.folder / "export") is None
        if (self.folder / "summary.json").exists():
            json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture
def place(tmp_path: Path, checkpoint: Path, examples: Path) -> Iterator[Callable[[str], Place]]:
    """`place(name)`: a place of its own."""
    context = multiprocessing.get_context("forkserver")
    modules = (
        "compress.cli.commands.run",
        "compress.pipeline.spine",
        "compress.report.table",
        "compress.methods.distill.layers",
    )
    context.set_forkserver_preload(
        [*modules, "compress.methods.quantize.int8", "transformers.models.bert.modeling_bert"]
    )

    def make(name: str) -> Place:
        (tmp_path / name).mkdir()
        return Place(tmp_path / name, checkpoint, examples, context)

    yield make


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_killed_runs_end_as_one_that_was_not(place: Callable[[str], Place]) -> None:
    undisturbed, killed = place("undisturbed"), place("killed")
    changes = undisturbed.finish(undisturbed.store)
    draw, died, known = random.Random(0), 0, {}
    while died < KILLS:
        status = killed.start(draw.randint(1, changes // 4), under=killed.store, pause=draw.uniform(0.001, 0.5))
        died += status == -9
        assert status in (0, -9), (killed.root / "log").read_text(encoding="utf-8")[-3000:]
        killed.require_nothing_torn()
        found = killed.manifests()
        # What was finished once is not made again.
        assert found.items() >= known.items()
        known = found
    changes = killed.finish(killed.folder)
    assert killed.manifests().items() >= known.items()
    assert killed.rows() == undisturbed.rows() and killed.exported() == undisturbed.exported()
    assert [row["stage"] for row in killed.rows()] == ["teacher", "distill", "quantize"]
    assert not any((killed.store / "work").iterdir())
    assert not [path for kind in KINDS for path in (killed.store / kind).glob(".*")]

    # With all work done, every change is one of publishing.
    known = killed.manifests()
    for number in sorted(draw.sample(range(1, changes + 1), 5)):
        assert killed.start(number, under=killed.folder) == -9
        killed.require_nothing_torn()
    killed.finish(killed.folder)
    assert killed.manifests() == known
    assert killed.rows() == undisturbed.rows() and killed.exported() == undisturbed.exported()
