"""What a run does through the store: every artifact, export and evaluation is made once and found again."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed

from compress.core.errors import CompressError
from compress.core.evaluation import Evaluation, Proof
from compress.core.latency_table import LatencyTable
from compress.core.words import Context, Recipe, TeacherContext
from compress.data.splits import fingerprint
from compress.data.unlabelled import only_new
from compress.keys import (
    artifact_key,
    evaluation_key,
    export_key,
    latency_table_key,
    precision_of,
    teacher_key,
)
from compress.layers.fused_layer import FusedLayerSizes
from compress.measure.accuracy import write_batches
from compress.measure.evaluate import (
    candidate_of,
    evaluation_from_json,
    evaluation_to_json,
    score,
    size_of,
    time_candidate,
    torch_ratio_of,
)
from compress.measure.latency_table import measure_table
from compress.measure.processes import Candidate
from compress.measure.prove import prove, write_probe
from compress.measure.worker import load_batches
from compress.models.checkpoint import load_model, save_model, settle
from compress.preflight import check_examples
from compress.runtimes.torch import TorchRuntime
from compress.store import Entry, Store

Check = Callable[[Any], None]


class Workshop:
    """A recipe with its data read and encoded, and the store that its work goes through.

    Opening it reads the data and looks at the teacher, and raises InputError where they cannot be used. `check(model)`
    sees a model of the teacher's shape, before the examples are encoded.
    """

    def __init__(self, recipe: Recipe, warn: Callable[[str], None], check: Check) -> None:
        self.recipe = recipe
        self.store = Store(recipe.store, warn)
        splits = recipe.data.load()
        self.notes = splits.notes
        self.config, self.processor = recipe.teacher.read(recipe.task, splits.train)
        shape = recipe.teacher.look(recipe.task, self.config)
        check(shape)
        given = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        self.examples = {
            name: recipe.task.encode(split, self.processor, self.config, name)
            for name, split in given.items()
            if split is not None
        }
        check_examples(recipe, shape, list(self.examples["train"]["length"]))
        self._fingerprints = {name: fingerprint(split) for name, split in self.examples.items()}
        self._unlabelled = self._encode_unlabelled(splits.unlabelled)
        self._unlabelled_fingerprint = "" if self._unlabelled is None else fingerprint(self._unlabelled)

    def teacher(self) -> Entry:
        """The teacher's artifact."""
        recipe, key = self.recipe, teacher_key(self.recipe, self._fingerprints["train"])

        def make(target: Path) -> dict[str, Any]:
            began = time.monotonic()
            context = TeacherContext(
                task=recipe.task,
                config=self.config,
                processor=self.processor,
                train=self.examples["train"],
                device=recipe.device,
                seed=recipe.seed,
                work_folder=self.store.work_folder(key),
                collate=self._collate,
            )
            return self._save(recipe.teacher.make(context), target, parent=None, notes=(), began=began)

        entry = self.store.entry("artifacts", key, make)
        self.store.forget_work(key)
        return entry

    def produce(self, stage: str, parent: Entry, teacher: Entry) -> Entry:
        """The artifact that `stage` makes of `parent`."""
        recipe = self.recipe
        prints = self._fingerprints["train"], self._unlabelled_fingerprint
        measured = self._latency_key(teacher, {}) if getattr(recipe.stages[stage], "uses_latency", False) else ""
        key = artifact_key(recipe, stage, parent.key, teacher.key, *prints, measured)

        def make(target: Path) -> dict[str, Any]:
            began = time.monotonic()
            notes: list[str] = []
            set_seed(recipe.seed)
            context = Context(
                teacher=load_model(teacher.folder),
                teacher_key=teacher.key,
                task=recipe.task,
                processor=self.processor,
                train=self.examples["train"],
                train_fingerprint=self._fingerprints["train"],
                unlabelled=self._unlabelled,
                unlabelled_fingerprint=self._unlabelled_fingerprint,
                device=recipe.device,
                seed=recipe.seed,
                threads=recipe.runtime.threads,
                work_folder=self.store.work_folder(key),
                cache_folder=self.store.cache_folder("teacher-outputs"),
                note=notes.append,
                collate=self._collate,
                latency=lambda sizes: self.latency_table(teacher, sizes),
            )
            model = recipe.stages[stage].apply(load_model(parent.folder), context)
            return self._save(model, target, parent=parent.key, notes=tuple(notes), began=began)

        entry = self.store.entry("artifacts", key, make)
        self.store.forget_work(key)
        return entry

    def evaluate(self, artifact: Entry, teacher: Entry | None) -> Evaluation:
        """Proof, scores, size, and latency: in turns with the teacher, or for the teacher itself with plain PyTorch."""
        recipe = self.recipe
        export, proof = self.export(artifact)
        candidate = candidate_of(recipe.runtime, artifact.folder, export)
        if teacher is None:
            baseline = Candidate(runtime=TorchRuntime(threads=recipe.runtime.threads), folder=artifact.folder)
            # Each start of torch takes seconds, and no gate reads this ratio.
            measurement = dataclasses.replace(recipe.measurement, launches=min(2, recipe.measurement.launches))
        else:
            measurement = recipe.measurement
            baseline = candidate_of(recipe.runtime, teacher.folder, self.export(teacher)[0])

        def make(target: Path) -> dict[str, Any]:
            lengths = self.examples["validation"]["length"]
            evaluation = self._score(candidate, artifact.key, "validation")
            batches = [self._batches("validation")] * 2
            latency = time_candidate(candidate, baseline, lengths, batches, measurement)
            measured = dataclasses.replace(
                evaluation,
                latency=latency,
                size=size_of(artifact.folder, export),
                proof=proof,
                torch_ratio=torch_ratio_of(latency) if teacher is None else None,
            )
            return _write_evaluation(measured, target)

        against = "" if teacher is None else teacher.key
        key = evaluation_key(recipe, artifact.key, against, self._fingerprints["validation"], timed=True)
        return _read_evaluation(self.store.entry("evaluations", key, make))

    def test(self, artifact: Entry) -> Evaluation | None:
        """Scores on the test split, which nothing else reads; None where there is none."""
        if "test" not in self.examples:
            return None
        candidate = candidate_of(self.recipe.runtime, artifact.folder, self.export(artifact)[0])
        key = evaluation_key(self.recipe, artifact.key, "", self._fingerprints["test"], timed=False)

        def make(target: Path) -> dict[str, Any]:
            return _write_evaluation(self._score(candidate, artifact.key, "test"), target)

        return _read_evaluation(self.store.entry("evaluations", key, make))

    def latency_table(self, teacher: Entry, sizes: FusedLayerSizes) -> LatencyTable:
        """What layers of these sizes cost on this machine, measured once."""
        recipe, config = self.recipe, self.config

        def make(target: Path) -> dict[str, Any]:
            export = self.export(teacher)[0]
            assert export is not None
            table = measure_table(
                recipe.runtime,
                teacher=export,
                batches=load_batches(self._batches("validation")),
                lengths=self.examples["validation"]["length"],
                layer=sizes,
                words=config.vocab_size,
                positions=config.max_position_embeddings,
                labels=config.num_labels,
                precision=precision_of(recipe),
            )
            return table.to_json()

        key = self._latency_key(teacher, dataclasses.asdict(sizes))
        return LatencyTable.from_json(self.store.entry("latency-tables", key, make).facts)

    def _latency_key(self, teacher: Entry, sizes: dict[str, int]) -> str:
        return latency_table_key(self.recipe, teacher.key, self.examples["validation"]["length"], sizes)

    def export(self, artifact: Entry) -> tuple[Path | None, Proof]:
        """The folder with the runtime's form of an artifact (None where it runs the artifact itself), and the proof
        that the reloaded artifact is the same. Raises StageError, and sets the artifact aside, where it is not."""
        runtime, task = self.recipe.runtime, self.recipe.task

        def make(target: Path) -> dict[str, Any]:
            return dataclasses.asdict(prove(artifact.folder, target if runtime.needs_export else None, task, runtime))

        try:
            entry = self.store.entry("exports", export_key(self.recipe, artifact.key), make)
        except CompressError as error:
            self.store.set_aside(artifact, str(error))
            raise
        shapes = tuple(tuple(shape) for shape in entry.facts["shapes"])
        return entry.folder if runtime.needs_export else None, Proof(**{**entry.facts, "shapes": shapes})

    def _encode_unlabelled(self, examples: Dataset | None) -> Dataset | None:
        if examples is None:
            return None
        task = self.recipe.task
        encoded = task.encode_unlabelled(examples, self.processor, self.config)
        kept, note = only_new(encoded, self.examples, task.inputs)
        self.notes = (*self.notes, note)
        return kept

    def _collate(self, rows: Any) -> dict[str, Any]:
        return self.recipe.task.collate(rows, self.processor)

    def _save(
        self, model: Any, target: Path, *, parent: str | None, notes: tuple[str, ...], began: float
    ) -> dict[str, Any]:
        settle(model)
        save_model(model, target)
        self.recipe.task.save_processor(self.processor, target)
        validation, threads = self.examples["validation"], self.recipe.runtime.threads
        write_probe(target, model, self.recipe.task, validation, self.processor, threads)
        return {"parent": parent, "notes": list(notes), "seconds": time.monotonic() - began}

    def _score(self, candidate: Candidate, key: str, split: str) -> Evaluation:
        return score(
            candidate,
            key,
            self.examples[split],
            self._batches(split),
            self.recipe.task,
            split=split,
        )

    def _batches(self, split: str) -> Path:
        """A split's inputs in a file that workers read."""
        path = self.store.cache_folder("batches") / f"{self._fingerprints[split]}.npz"
        if not path.exists():
            temporary = path.with_name(f"{path.stem}.{os.getpid()}.npz")
            write_batches(self.examples[split], self.recipe.task, self.processor, temporary)
            temporary.rename(path)
        return path


def _write_evaluation(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    (folder / "evaluation.json").write_text(json.dumps(evaluation_to_json(evaluation)), encoding="utf-8")
    return {"artifact": evaluation.artifact, "split": evaluation.split}


def _read_evaluation(entry: Entry) -> Evaluation:
    return evaluation_from_json(json.loads((entry.folder / "evaluation.json").read_text(encoding="utf-8")))
