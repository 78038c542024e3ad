"""A terminal for sweeps of a tiny model, whose store all tests share: what differs between jobs costs no new work."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compress.cli.commands.run import main

STAGES = '''
"""Stages that end in every way a stage can."""
import os, signal
from dataclasses import dataclass
from compress.core.errors import StageError
import torch

@dataclass(frozen=True, kw_only=True)
class Ends:
    how: str
    leaves = frozenset()
    refuses = {}

    def apply(self, model, context):
        context.note(f"{torch.get_num_threads()} threads")
        if self.how == "raises":
            raise RuntimeError("the stage broke")
        if self.how == "stops":
            raise StageError("the loss is not finite")
        if self.how.startswith("interrupted") and not os.path.exists("mended"):
            raise KeyboardInterrupt
        if self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return model
'''
RECIPE = """
defaults:
  - text_classification
  - /gate@gates.ends: non_inferiority
  - _self_
stages:
  ends:
    _target_: stages_that_end.Ends
    how: well
order: [ends]
gates:
  ends:
    max_accuracy_drop: 1
data:
  max_length: 32
measurement:
  launches: 1
  rounds: 2
  examples: 4
  retry_seconds: 0
device: cpu
"""


@dataclass(frozen=True)
class Answer:
    """What the command line said."""

    status: int
    output: str
    errors: str


class Sweeps:
    """`sweep("setting=a,b")` runs `compress -m` in `folder`; `jobs()` are those of its `sweep.json`."""

    def __init__(self, folder: Path, given: list[str], capture: Any) -> None:
        self.folder, self._given, self._capture = folder, given, capture

    def sweep(self, *arguments: str, flags: tuple[str, ...] = ("-m",)) -> Answer:
        """The recipe with these changes, in this process."""
        place = [] if any("sweep.dir" in one for one in arguments) else [f"hydra.sweep.dir={self.folder / 'sweep'}"]
        old, sys.argv = sys.argv, ["compress", *flags, *self._given, *place, *arguments]
        self._capture.readouterr()
        try:
            main()
        except SystemExit as done:
            status = int(done.code or 0)
        finally:
            sys.argv = old
        return Answer(status, *self._capture.readouterr())

    def record(self) -> dict[str, Any]:
        """The sweep's `sweep.json`."""
        return dict(json.loads((self.folder / "sweep" / "sweep.json").read_text(encoding="utf-8")))

    def endings(self) -> list[str]:
        """How each job ended."""
        return [job["ending"] for job in self.record()["jobs"]]

    def ledger(self, job: int) -> list[dict[str, Any]]:
        """A job's rows."""
        text = (self.folder / "sweep" / str(job) / "ledger.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model, data, recipe and store of all sweeps here."""
    return tmp_path_factory.mktemp("sweeps")


@pytest.fixture
def terminal(
    shared: Path,
    tmp_path: Path,
    make_model: Callable[..., Any],
    tokenizer: Any,
    make_examples: Callable[..., Path],
    capfd: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Sweeps:
    """A terminal in an empty folder."""
    if not (shared / "examples.jsonl").exists():
        make_model(layers=1).save_pretrained(shared / "teacher")
        tokenizer.save_pretrained(shared / "teacher")
        (shared / "stages_that_end.py").write_text(STAGES, encoding="utf-8")
        # A folder of its own: Hydra takes every folder beside a recipe for a group of settings.
        (shared / "recipes").mkdir()
        (shared / "recipes" / "ending.yaml").write_text(RECIPE, encoding="utf-8")
        make_examples(shared / "examples.jsonl", 160)
    monkeypatch.chdir(tmp_path)
    # For this process, and for those that a launcher starts.
    monkeypatch.syspath_prepend(shared)
    monkeypatch.setenv("PYTHONPATH", str(shared), prepend=":")
    paths = [f"model.path={shared / 'teacher'}", f"data.train={shared / 'examples.jsonl'}", f"store={shared / 'store'}"]
    return Sweeps(tmp_path, ["-cd", str(shared / "recipes"), "-cn", "ending", *paths], capfd)
