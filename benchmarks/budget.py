"""Whether a setting of `prune` (`budget`) gains anything: the same cut with and without it, at the same predicted time.

    python benchmarks/budget.py --run RUN --work DIR [--store STORE] [--setting ranks] [--speedups 8,12,16]

The teacher of a finished run is cut, by Fisher information, in one cut and without any training, so that the choice
alone is compared. Printed for each speed-up asked for, without and with the setting: the importance that is kept, the
divergence KL(teacher || cut) of the logits in nats, and the accuracy, each pair of answers to one example compared, in
points with 95% intervals; then how the two cuts differ in accuracy, and what was chosen. `--exports` also makes their
fused INT8 exports and times them in turns. The run's store is only read; what is made is kept in --work.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from omegaconf import OmegaConf

from compress.cli.config import build, compose_settings
from compress.core.evaluation import Latency
from compress.core.metric import SHARE
from compress.core.recipe import Measurement, Recipe
from compress.measure.accuracy import write_batches
from compress.measure.latency import measure_in_turns, representative
from compress.measure.paired import paired_interval
from compress.measure.processes import Candidate
from compress.measure.statistics import speedup
from compress.methods.training.sensitivity import answers, shift_of
from compress.nn.checkpoint import load_model
from compress.nn.family import layers_of
from compress.nn.fusion import widest_sizes
from compress.pipeline.loaded_recipe import LoadedRecipe, load
from compress.pipeline.made.artifacts import stage_artifact, teacher_artifact
from compress.pipeline.made.exports import export_of
from compress.pipeline.made.latency_tables import latency_table
from compress.pipeline.make_or_find import make_or_find
from compress.pipeline.store import Entry, Store
from compress.report import wording
from compress.tasks.text_task import SIGNATURE

TAKEN_OVER = ("data", "task", "runtime", "seed")
CONFIDENCE = 0.95
TURNS = Measurement(examples=32, launches=3, rounds=10, warmup=20)


def main() -> int:
    """Print a line for each cut, and what was chosen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished run's folder")
    parser.add_argument("--store", type=Path, help="where its store lies now; else where it was")
    parser.add_argument("--work", type=Path, required=True, help="where the cut models are kept")
    parser.add_argument("--setting", default="ranks", choices=("ranks", "blocks"))
    parser.add_argument("--speedups", default="8,12,16", help="times the teacher's speed, with the stage's margin")
    parser.add_argument("--shares", help="instead: of the uncut model's predicted time, which noise spares more")
    parser.add_argument("--threads", type=int, help="of the runtime; else the run's")
    parser.add_argument("--examples", type=int, default=3000, help="validation examples to answer, at most")
    parser.add_argument("--exports", action="store_true", help="time the fused INT8 exports too")
    options = parser.parse_args()
    laboratory = Laboratory(options.run, options.store, options.work, options.examples, options.threads)
    print("| asked | with | kept importance | divergence | accuracy, points |\n| --- | --- | --- | --- | --- |")
    for asked in (options.shares or options.speedups).split(","):
        if options.shares is None:
            budget = f"objective.speedup={asked}"
        else:
            budget = f"stages.prune.target_latency_ms={float(asked) * laboratory.uncut_ms}"
        without, given = (
            laboratory.cut([budget, f"stages.prune.{options.setting}={value}"]) for value in ("false", "true")
        )
        for cut, other in ((without, "nothing"), (given, options.setting)):
            accuracy = laboratory.compared(cut.scores, laboratory.scores)
            print(f"| {asked} | {other} | {cut.kept} | {cut.divergence:.3f} | {accuracy} |", flush=True)
        gained = laboratory.compared(given.scores, without.scores)
        tell(f"{asked}, with {options.setting} against without: {gained}")
        for note in given.notes:
            tell(f"    {note}")
        if options.exports:
            tell(laboratory.timed(without, given))
    return 0


@dataclass(frozen=True)
class Cut:
    """A cut teacher. kept: what the ledger says it kept. scores: of each example."""

    entry: Entry
    loaded: LoadedRecipe
    store: Store
    teacher: Entry
    kept: str
    divergence: float
    scores: np.ndarray
    notes: list[str]


class Laboratory:
    """A run's teacher, its answers to validation examples, and what is cut of it."""

    def __init__(self, run: Path, store: Path | None, work: Path, examples: int, threads: int | None) -> None:
        for path in (run / ".hydra" / "config.yaml", run / "summary.json"):
            if not path.is_file():
                raise SystemExit(f"{run} has no {path.relative_to(run)}; give the folder of a finished run.")
        self._settings = OmegaConf.load(run / ".hydra" / "config.yaml")
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        self._folder = (store or Path(self._settings.store)) / "artifacts" / summary["teacher"]["artifact"]
        if not self._folder.is_dir():
            raise SystemExit(f"{self._folder} is gone, the teacher of {run}; say by --store where its store lies now.")
        self._work = work
        if threads is not None:
            self._settings.runtime.threads = threads
        loaded, _, teacher = self._made(())
        torch.set_num_threads(loaded.recipe.runtime.threads)
        self.task = loaded.recipe.task
        self._processor, split = self.task.load_processor(teacher.folder), loaded.examples["validation"]
        chosen = np.random.default_rng(0).permutation(len(split))[:examples]
        self._rows = [split[int(row)] for row in chosen]
        self._batches = [self.task.collate([row], self._processor) for row in self._rows]
        model = load_model(teacher.folder)
        self._reference = answers(model, self._batches, self.task)
        self.scores = self._scores([logits.numpy() for logits in self._reference])
        tell(f"teacher: {self.scores.mean():.1%} of {len(self._rows)} validation examples")

    @property
    def uncut_ms(self) -> float:
        """What the teacher would take after the stages to come, by the latency table."""
        loaded, store, teacher = self._made(())
        model = load_model(teacher.folder)
        table = latency_table(loaded, store, teacher, widest_sizes(model), again=False)
        return table.predict([(layer.heads, layer.neurons) for layer in layers_of(model)])

    def cut(self, settings: Sequence[str]) -> Cut:
        """The teacher, as small as these settings ask for."""
        loaded, store, teacher = self._made(settings)
        entry = make_or_find(store, stage_artifact(loaded, "prune", teacher, teacher))
        model = load_model(entry.folder)
        moved = shift_of(model, [()], self._batches, self._reference, self.task)
        notes = list(entry.facts["notes"])
        kept = next(note for note in notes if note.startswith("kept "))
        scores = self._scores(moved.logits[0])
        return Cut(entry, loaded, store, teacher, kept, float(moved.mean[0]), scores, notes)

    def compared(self, scores: np.ndarray, others: np.ndarray) -> str:
        """The mean difference, with its interval."""
        differences = scores - others
        groups = [row["group"] for row in self._rows]
        interval = paired_interval(differences, groups, CONFIDENCE)
        return wording.difference_with_interval(float(differences.mean()), interval, SHARE, 1)

    def timed(self, without: Cut, given: Cut) -> str:
        """How the fused INT8 exports of the two compare, in turns on the run's runtime."""
        candidates = []
        for cut in (without, given):
            entry = cut.entry
            for stage in ("fuse", "quantize"):
                entry = make_or_find(cut.store, stage_artifact(cut.loaded, stage, entry, cut.teacher))
            folder = make_or_find(cut.store, export_of(cut.loaded, entry)).folder
            assert folder is not None
            candidates.append(Candidate(runtime=cut.loaded.recipe.runtime, folder=folder, signature=SIGNATURE))
        files = [self._work / "timed.npz"] * 2
        write_batches(Dataset.from_list(self._rows), self.task, self._processor, SIGNATURE, files[0])
        chosen = representative([row["length"] for row in self._rows], TURNS.examples)
        before, after = measure_in_turns(candidates, files, chosen, TURNS)
        latency = Latency(rounds=after, baseline_rounds=before, launches=TURNS.launches)
        ratio, (low, high) = speedup(latency, CONFIDENCE)
        return f"    its export is {ratio:.2f} [{low:.2f}, {high:.2f}] times as fast as the one without"

    def _made(self, settings: Sequence[str]) -> tuple[LoadedRecipe, Store, Entry]:
        """The recipe with its data, its store, and its teacher."""
        loaded, store = load(self._recipe(settings), warn=tell, check=lambda *given: None)
        return loaded, store, make_or_find(store, teacher_artifact(loaded))

    def _recipe(self, settings: Sequence[str]) -> Recipe:
        given = [
            *(f"model.path={self._folder}", f"store={self._work / 'store'}"),
            *("data.train=nowhere", "data.validation=elsewhere", "stages.prune.recovery_epochs=0"),
            *("objective.speedup=null", *settings),
        ]
        composed = compose_settings("text_classification", given)
        OmegaConf.set_struct(composed, False)
        for name in TAKEN_OVER:
            composed[name] = self._settings[name]
        return build(composed, "text_classification")

    def _scores(self, logits: list[np.ndarray]) -> np.ndarray:
        return self.task.statistics([values[0] for values in logits], self._rows, None)[:, 0]


def tell(message: str) -> None:
    """To people who wait."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
