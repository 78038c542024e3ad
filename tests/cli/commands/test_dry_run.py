"""`compress --dry-run`: the plan of a run, or of a sweep, and that nothing is written for it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from compress.cli.commands.run import main
from compress.measure import latency_table

SHARES = "stage/prune@stages.prune=structured"


class Terminal:
    """`compress` with the tiny model and data, typed in a folder of its own."""

    def __init__(self, folder: Path, model: Path, data: Path, capture: Any) -> None:
        self.folder, self._capture = folder, capture
        self._given = [
            *(f"model.path={model}", f"data.train={data}", f"store={folder / 'store'}", "data.max_length=32"),
            *("measurement.launches=1", "measurement.rounds=2", "measurement.examples=4", "device=cpu"),
            *("stages.distill.layers=2", "stages.distill.epochs=1", "stages.distill.imitation.shortest_epoch=1"),
            *("gates.quantize.max_accuracy_drop=1", f"hydra.run.dir={folder / 'run'}"),
            f"hydra.sweep.dir={folder / 'sweep'}",
        ]

    def type(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, output and errors. The last of a setting counts."""
        named = {argument.partition("=")[0]: argument for argument in [*self._given, *arguments]}
        # Hydra wants its flags before the settings.
        flags = [argument for argument in arguments if argument.startswith("-m")]
        typed = [argument for argument in named.values() if argument not in flags]
        old, sys.argv = sys.argv, ["compress", *flags, "-cn", "text_classification", *typed]
        self._capture.readouterr()
        try:
            with pytest.raises(SystemExit) as done:
                main()
        finally:
            sys.argv = old
        captured = self._capture.readouterr()
        return int(done.value.code or 0), " ".join(captured.out.split()), captured.err

    def files(self) -> dict[str, bytes]:
        """Everything in the folder."""
        return {str(path): path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}

    def plan(self, *arguments: str) -> str:
        """The plan, for which nothing was written."""
        before, folders = self.files(), sorted(self.folder.rglob("*"))
        status, output, errors = self.type("--dry-run", *arguments)
        assert (status, errors) == (0, "")
        assert self.files() == before
        assert sorted(self.folder.rglob("*")) == folders
        return output


@pytest.fixture
def terminal(tmp_path: Path, checkpoint: Path, examples: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in an empty folder beside the model and the data."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Terminal(folder, checkpoint, examples, capfd)


def test_before_and_after_a_run(terminal: Terminal) -> None:
    plan = terminal.plan("order=[quantize]")
    assert "examples: train 128, validation 32;" in plan and "labels cold, warm" in plan
    assert "Time: 2 of 2 unknown" in plan and "stay in the store" in plan
    # What the user changed, with where the default comes from.
    assert re.search(r"quantize teacher make, prove, measure unknown gate.max_accuracy_drop=1 \(gate.max", plan)
    assert "gate.confidence=0.9 (0.95)" in terminal.plan("order=[quantize]", "gate.confidence=0.9")

    assert terminal.type("order=[quantize]")[0] == 0
    done = terminal.plan("order=[quantize]")
    assert "Nothing to do: all of it is in the store" in done
    # The tiny teacher answers every example with one label, so that nothing is proven against it.
    assert "quantize teacher in the store (inconclusive, kept)" in done

    # Another scheme is another stage: of this kind there is a time to go by now.
    half = terminal.plan("order=[quantize]", "stage/quantize@stages.quantize=static")
    assert "teacher in the store" in half and "make, prove, measure" in half
    assert "Time: about" in half and "unknown" not in half

    # What the store says a gate decides: with an impossible limit the stage is rolled back.
    strict = terminal.plan("order=[quantize]", "gates.quantize.max_accuracy_drop=0", "gates.quantize.min_speedup=1000")
    assert "in the store (failed, rolled back)" in strict

    status, output, errors = terminal.type(
        "--dry-run", "-m", "order=[quantize]", "stages.quantize.embeddings=true,false", "seed=0,1"
    )
    assert (status, errors) == (0, "")
    # The teacher is one; a seed and a scheme make four, of which one is there. The other seed draws another validation
    # split, on which the teacher has not been measured.
    assert "4 jobs; 8 stages (teachers included), 5 distinct" in output.replace(" of them", "")
    assert "3 to make, 1 to measure, 1 finished" in output


def test_a_sweep_counts_what_is_shared_once(terminal: Terminal) -> None:
    plan = terminal.plan(
        "-m", SHARES, "order=[distill,prune,fuse,quantize]", "stages.prune.heads=0.5,0.75", "stages.prune.neurons=0.5,1"
    )
    # A teacher, a student, and for each of four cuts three artifacts.
    assert "4 jobs; 20 stages (teachers included), 14 of them distinct: 14 to make, 0 to measure, 0 finished" in plan
    assert "job 3: stages.prune.heads=0.75 stages.prune.neurons=1" in plan
    assert "heads=0.75 (0.5)" in plan
    # Timed for a few steps, because no earlier training tells.
    assert "their training takes at most" in plan


def test_what_depends_on_a_tokenizer_that_is_not_made_yet(terminal: Terminal) -> None:
    plan = terminal.plan(
        "order=[vocabulary,quantize]",
        "+stage/prune@stages.vocabulary=vocabulary",
        "+gate@gates.vocabulary=non_inferiority",
    )
    assert "whether the store has quantize is unknown until vocabulary has made its tokenizer" in plan
    assert "store has vocabulary" not in plan


def test_a_stage_that_reads_the_latency_table_has_a_key_before_it_is_measured(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("a plan measures nothing")

    monkeypatch.setattr(latency_table, "measure_in_turns", forbidden)
    plan = terminal.plan("order=[prune,fuse,quantize]", "objective.speedup=2")
    assert "prune teacher make, prove, measure" in plan


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("stages.quantize.shceme=static",), "Did you mean 'stages.quantize.scheme'?"),
        (("order=[quantise]",), "Did you mean 'quantize'?"),
        (("data.train=none.jsonl",), "none.jsonl"),
        (("model.path=nowhere",), "nowhere"),
        (("store=/proc/store",), "store is /proc/store, which cannot be written"),
        (("hydra.run.dir=/proc/run",), "hydra.run.dir is /proc/run, which cannot be written"),
        (("tracking=mlfow",), "Did you mean 'mlflow'?"),
        (("runtime.threads=1000",), "runtime.threads is 1000"),
        (("-m", "stages.quantize.calibration.percentile=interval(90,99)"), "is an interval"),
    ],
)
def test_bad_input_is_refused_as_by_a_run(terminal: Terminal, arguments: tuple[str, ...], told: str) -> None:
    before = terminal.files()
    status, output, errors = terminal.type("--dry-run", "order=[quantize]", *arguments)
    assert (status, output) == (2, "")
    assert told in errors and errors.startswith("compress: ") and len(errors.strip().splitlines()) == 1
    assert terminal.files() == before


def test_one_bad_job_of_a_sweep_is_told_and_the_others_are_planned(terminal: Terminal) -> None:
    status, output, errors = terminal.type("--dry-run", "-m", "order=[quantize],[quantise]")
    assert status == 2
    assert "2 jobs, 1 refused" in output
    assert "job 1 (order=[quantise])" in errors


def test_hydra_answers_what_it_is_asked(terminal: Terminal) -> None:
    status, output, _ = terminal.type("--dry-run", "--cfg", "job")
    assert status == 0 and "max_accuracy_drop" in output
