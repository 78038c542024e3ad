"""A sweep does each piece of work once: the jobs' common beginnings are found in the store."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from compress.cli.commands import job
from compress.cli.commands.run import main
from compress.data import files
from compress.methods.teachers.folder import FolderTeacher
from compress.tasks.text_classification import TextClassification

SWEPT = (
    "stages.prune.heads=0.5,0.75",
    "stages.factorize.kept_energy=0.9,0.99",
    "stages.quantize.scheme=dynamic,static",
)
CHEAP = (
    *("data.max_length=16", "stages.distill.layers=2", "stages.distill.epochs=1", "device=cpu", "runtime=torch"),
    *("stages.distill.imitation.shortest_epoch=1", "stages.prune.recovery_epochs=0", "runtime.threads=1"),
    *("measurement.launches=1", "measurement.rounds=1", "measurement.examples=2", "measurement.warmup=0"),
    "measurement.retry_seconds=0",
    *(f"gates.{name}.on_failure=warn" for name in ("distill", "prune", "factorize", "quantize")),
)


pytestmark = pytest.mark.usefixtures("in_this_process")


def sweep(folder: Path, *settings: str) -> list[list[dict[str, Any]]]:
    """The ledgers of a sweep's jobs."""
    old, sys.argv = sys.argv, ["compress", "-m", "-cn", "text_classification", f"hydra.sweep.dir={folder}", *settings]
    try:
        with pytest.raises(SystemExit) as done:
            main()
    finally:
        sys.argv = old
    assert not done.value.code
    ledgers = sorted(folder.glob("*/ledger.jsonl"))
    return [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in ledgers]


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often, from here on, a data file is read, a split encoded, the teacher looked at and hashed, and a job's
    settings composed."""
    calls: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def called(*arguments: Any, **named: Any) -> Any:
            calls[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, called)

    for owner, name in (
        *((files, "read_file"), (TextClassification, "encode")),
        *((FolderTeacher, "look"), (FolderTeacher, "identity"), (ConfigLoaderImpl, "load_sweep_config")),
    ):
        count(owner, name)
    return calls


def test_two_by_two_by_two_after_one_distillation(
    tmp_path: Path, checkpoint: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}")
    order = ("order=[distill,prune,factorize,quantize]", "stage/prune@stages.prune=structured")
    jobs = sweep(tmp_path / "first", *given, *order, *CHEAP, *SWEPT)
    assert len(jobs) == 8
    made = [row["stage"] for rows in jobs for row in rows if not row["reused"]]
    stages = ("teacher", "distill", "prune", "factorize", "quantize")
    assert {stage: made.count(stage) for stage in stages} == dict(zip(stages, (1, 1, 2, 4, 8), strict=True))
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "store" / "artifacts").iterdir()}
    # The teacher, and 1 + 2 + 4 + 8.
    assert len(written) == 16 == len({row["artifact"] for rows in jobs for row in rows})

    # As a process of its own has it.
    job._inputs.cache_clear()
    read = counted(monkeypatch)
    again = sweep(tmp_path / "second", *given, *order, *CHEAP, *SWEPT)
    assert read == {"read_file": 1, "encode": 2, "look": 1, "identity": 1, "load_sweep_config": 1}
    assert all(row["reused"] for rows in again for row in rows)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "store" / "artifacts").iterdir()} == written
    assert sorted(rows[-1]["artifact"] for rows in again) == sorted(rows[-1]["artifact"] for rows in jobs)
