"""What a run does through the store: every artifact, export and evaluation is made once and found again."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from transformers import set_seed

from compress.blame.case import Case
from compress.core.blame import Blame
from compress.core.errors import CompressError, StageError
from compress.core.evaluation import Evaluation, Proof
from compress.core.latency_table import LatencyTable
from compress.core.words import Context, Recipe, TeacherContext
from compress.keys import (
    artifact_key,
    blame_key,
    evaluation_key,
    export_key,
    latency_table_key,
    precision_of,
    teacher_key,
)
from compress.layers.fused_layer import FusedLayerSizes
from compress.measure.bystanders import disturbance
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
from compress.measure.slices import length_bins
from compress.measure.worker import load_batches
from compress.models.checkpoint import load_model, read_config, save_model, settle
from compress.preflight import check_examples, foreseen
from compress.reading import UNLABELLED, Reading
from compress.runtimes.torch import TorchRuntime
from compress.store import Entry, Store, bytes_in
from compress.training.calibration import chosen_rows
from compress.training.sensitivity import answers

BLAME_EXAMPLES = 128
Check = Callable[[Any, Any], None]


class Workshop:
    """A recipe with its data read and encoded, and the store that its work goes through.

    Opening it reads the data and looks at the teacher, and raises InputError where they cannot be used.
    `check(model, processor)` sees a model of the teacher's shape, and its processor, before the examples are encoded.
    An artifact is shown examples as its own processor reads them.
    """

    def __init__(self, recipe: Recipe, warn: Callable[[str], None], check: Check) -> None:
        self.recipe = recipe
        self.store = Store(recipe.store, warn)
        splits = recipe.data.load()
        self.notes = splits.notes
        self.config, processor = recipe.teacher.read(recipe.task, splits.train)
        shape = recipe.teacher.look(recipe.task, self.config)
        self._teacher_bytes = sum(tensor.numel() * tensor.element_size() for tensor in shape.state_dict().values())
        check(shape, processor)
        given = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        known = {name: split for name, split in given.items() if split is not None}
        reading = Reading(recipe.task, known, processor, self.config)
        self.examples = {name: reading.split(name) for name in known}
        check_examples(recipe, shape, list(self.examples["train"]["length"]))
        if splits.unlabelled is not None:
            reading, note = reading.with_unlabelled(splits.unlabelled)
            self.notes = (*self.notes, note)
        # By the artifact that brought its processor; None is the teacher.
        self._readings: dict[str | None, Reading] = {None: reading}

    def content(self, split: str) -> str:
        """What identifies the examples of a split, whoever reads them; "" where there is none."""
        return self._readings[None].content(split)

    def teacher(self) -> Entry:
        """The teacher's artifact."""
        recipe, reading = self.recipe, self._readings[None]
        key = teacher_key(recipe, reading.fingerprint("train"))

        def make(target: Path) -> dict[str, Any]:
            began = time.monotonic()
            context = TeacherContext(
                task=recipe.task,
                config=self.config,
                processor=reading.processor,
                train=reading.split("train"),
                device=recipe.device,
                seed=recipe.seed,
                work_folder=self.store.work_folder(key),
                collate=reading.collate,
            )
            self._save(recipe.teacher.make(context), target, reading)
            return {"parent": None, "processor": None, "notes": [], "seconds": time.monotonic() - began}

        needed = _with_room(self._teacher_bytes)
        entry = self.store.entry("artifacts", key, make, what="the teacher", needed_bytes=needed)
        self.store.forget_work(key)
        return entry

    def latency_checks(self, teacher: Entry) -> Iterator[tuple[str, Callable[[], None]]]:
        """For each stage that has one its name, and a call that raises InputError where nothing would be as fast as the
        stage is asked for. The first call measures the latency table."""
        for name, model in foreseen(self.recipe, load_model(teacher.folder)):
            check = getattr(self.recipe.stages[name], "check_latency", None)
            if check is not None:
                yield name, partial(check, model, lambda sizes: self.latency_table(teacher, sizes))

    def produce(self, stage: str, parent: Entry, teacher: Entry) -> Entry:
        """The artifact that `stage` makes of `parent`."""
        recipe, theirs, ours = self.recipe, self._reading(teacher), self._reading(parent)
        prints = _joined("train", ours, theirs), _joined(UNLABELLED, ours, theirs)
        measured = self._latency_key(teacher, {}) if getattr(recipe.stages[stage], "uses_latency", False) else ""
        key = artifact_key(recipe, stage, parent.key, teacher.key, *prints, measured)

        def make(target: Path) -> dict[str, Any]:
            began = time.monotonic()
            notes: list[str] = []
            processors: list[Any] = []
            set_seed(recipe.seed)
            context = Context(
                teacher=load_model(teacher.folder),
                teacher_key=teacher.key,
                task=recipe.task,
                processor=ours.processor,
                train=ours.split("train"),
                train_fingerprint=ours.fingerprint("train"),
                unlabelled=ours.unlabelled,
                unlabelled_fingerprint=ours.fingerprint(UNLABELLED),
                teacher_reading=theirs.for_student(ours),
                device=recipe.device,
                seed=recipe.seed,
                threads=recipe.runtime.threads,
                work_folder=self.store.work_folder(key),
                cache_folder=self.store.cache_folder("teacher-outputs"),
                note=notes.append,
                collate=ours.collate,
                use_processor=processors.append,
                latency=lambda sizes: self._doubted(self.latency_table(teacher, sizes), notes.append),
            )
            model = recipe.stages[stage].apply(load_model(parent.folder), context)
            if processors:
                self._readings[key] = ours.read_by(processors[-1], model.config)
            source = key if processors else parent.facts["processor"]
            self._save(model, target, self._readings[source])
            seconds = time.monotonic() - began
            return {"parent": parent.key, "processor": source, "notes": notes, "seconds": seconds}

        try:
            needed = _with_room(bytes_in(parent.folder))
            entry = self.store.entry("artifacts", key, make, what=f"what {stage} makes", needed_bytes=needed)
        except CompressError:
            # A stage that refuses has begun nothing that could be resumed.
            self.store.leave_no_empty_work(key)
            raise
        self.store.forget_work(key)
        return entry

    def evaluate(self, artifact: Entry, teacher: Entry | None) -> Evaluation:
        """Proof, scores, size, and latency: in turns with the teacher, or for the teacher itself with plain PyTorch."""
        recipe = self.recipe
        export, proof = self.export(artifact)
        candidate = candidate_of(recipe.runtime, artifact.folder, export)
        reading = self._reading(artifact)
        shown = reading if teacher is None else self._reading(teacher)
        if teacher is None:
            baseline = Candidate(runtime=TorchRuntime(threads=recipe.runtime.threads), folder=artifact.folder)
            # Each start of torch takes seconds, and no gate reads this ratio.
            measurement = dataclasses.replace(recipe.measurement, launches=min(2, recipe.measurement.launches))
        else:
            measurement = recipe.measurement
            baseline = candidate_of(recipe.runtime, teacher.folder, self.export(teacher)[0])

        def make(target: Path) -> dict[str, Any]:
            # The same examples for both, chosen by the baseline's lengths; each gets them as it reads them.
            lengths = shown.split("validation")["length"]
            evaluation = self._score(candidate, artifact.key, "validation", reading)
            batches = [self._batches("validation", shown), self._batches("validation", reading)]
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
        key = evaluation_key(recipe, artifact.key, against, _joined("validation", reading, shown), timed=True)
        return _read_evaluation(self.store.entry("evaluations", key, make, what="a measurement"))

    def blame(self, case: Case, teacher: Entry, before: Entry, after: Entry) -> Blame:
        """Why a stage may have missed its accuracy limit, and what to try; teacher, before, after: the case's."""
        recipe, theirs, ours = self.recipe, self._reading(teacher), self._reading(after)

        def make(target: Path) -> dict[str, Any]:
            rows = chosen_rows(recipe.seed, len(ours.split("validation")), BLAME_EXAMPLES)
            shown = [theirs.split("validation")[row] for row in rows]
            reference = answers(load_model(teacher.folder), [theirs.collate([row]) for row in shown], recipe.task)
            sample = [ours.split("validation")[row] for row in rows]
            batches = [ours.collate([row]) for row in sample]
            found = case.parts(load_model(before.folder), load_model(after.folder), sample, batches, reference)
            return dataclasses.asdict(found)

        entries = (teacher.key, before.key, after.key)
        key = blame_key(recipe, entries, _joined("validation", ours, theirs), case.identity())
        found = Blame.from_json(self.store.entry("blame", key, make).facts)
        rows = theirs.split("validation")
        names = {"class": recipe.task.kinds(rows, self.config), "length": length_bins(rows["length"])}
        return case.with_slices(found, names)

    def test(self, artifact: Entry) -> Evaluation | None:
        """Scores on the test split, which nothing else reads; None where there is none."""
        if "test" not in self.examples:
            return None
        reading = self._reading(artifact)
        candidate = candidate_of(self.recipe.runtime, artifact.folder, self.export(artifact)[0])
        key = evaluation_key(self.recipe, artifact.key, "", reading.fingerprint("test"), timed=False)

        def make(target: Path) -> dict[str, Any]:
            return _write_evaluation(self._score(candidate, artifact.key, "test", reading), target)

        return _read_evaluation(self.store.entry("evaluations", key, make, what="the scores on the test split"))

    def latency_table(self, teacher: Entry, sizes: FusedLayerSizes) -> LatencyTable:
        """What layers of these sizes cost on this machine, measured once."""
        recipe, config, reading = self.recipe, self.config, self._reading(teacher)

        def make(target: Path) -> dict[str, Any]:
            export = self.export(teacher)[0]
            assert export is not None
            table = measure_table(
                recipe.runtime,
                teacher=export,
                batches=load_batches(self._batches("validation", reading)),
                lengths=reading.split("validation")["length"],
                layer=sizes,
                words=config.vocab_size,
                positions=config.max_position_embeddings,
                labels=config.num_labels,
                precision=precision_of(recipe),
            )
            return table.to_json()

        key = self._latency_key(teacher, dataclasses.asdict(sizes))
        return LatencyTable.from_json(self.store.entry("latency-tables", key, make, what="the latency table").facts)

    def _doubted(self, table: LatencyTable, note: Callable[[str], None]) -> LatencyTable:
        found = disturbance(table.foreign_share, self.recipe.runtime.threads, "layers were timed")
        if found is not None:
            note(f"{found}: the sizes chosen may miss the objective; on an idle machine, use another store")
        return table

    def _latency_key(self, teacher: Entry, sizes: dict[str, int]) -> str:
        lengths = self._reading(teacher).split("validation")["length"]
        return latency_table_key(self.recipe, teacher.key, lengths, sizes)

    def export(self, artifact: Entry) -> tuple[Path | None, Proof]:
        """The folder with the runtime's form of an artifact (None where it runs the artifact itself), and the proof
        that the reloaded artifact is the same. Raises StageError, and sets the artifact aside, where it is not."""
        runtime, task = self.recipe.runtime, self.recipe.task

        def make(target: Path) -> dict[str, Any]:
            return dataclasses.asdict(prove(artifact.folder, target if runtime.needs_export else None, task, runtime))

        try:
            key, needed = export_key(self.recipe, artifact.key), _with_room(bytes_in(artifact.folder))
            entry = self.store.entry("exports", key, make, what="a model's export", needed_bytes=needed)
        except StageError as error:
            self.store.set_aside(artifact, str(error))
            raise
        shapes = tuple(tuple(shape) for shape in entry.facts["shapes"])
        return entry.folder if runtime.needs_export else None, Proof(**{**entry.facts, "shapes": shapes})

    def _reading(self, artifact: Entry) -> Reading:
        """The examples as an artifact's own processor reads them."""
        source = artifact.facts["processor"]
        if source not in self._readings:
            processor = self.recipe.task.load_processor(artifact.folder)
            self._readings[source] = self._readings[None].read_by(processor, read_config(artifact.folder))
        return self._readings[source]

    def _save(self, model: Any, target: Path, reading: Reading) -> None:
        settle(model)
        save_model(model, target)
        self.recipe.task.save_processor(reading.processor, target)
        validation, threads = reading.split("validation"), self.recipe.runtime.threads
        write_probe(target, model, self.recipe.task, validation, reading.processor, threads)

    def _score(self, candidate: Candidate, key: str, split: str, reading: Reading) -> Evaluation:
        return score(
            candidate,
            key,
            reading.split(split),
            self._batches(split, reading),
            self.recipe.task,
            split=split,
        )

    def _batches(self, split: str, reading: Reading) -> Path:
        return reading.batches(split, self.store.cache_folder("batches"))


def _with_room(size_bytes: int) -> int:
    """About what writing a model of this size takes: its tokenizer and probes come with it."""
    return round(1.1 * size_bytes) + 2_000_000


def _joined(split: str, ours: Reading, theirs: Reading) -> str:
    """What two readings of a split contain: one fingerprint where they are one."""
    return "+".join(dict.fromkeys((ours.fingerprint(split), theirs.fingerprint(split))))


def _write_evaluation(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    (folder / "evaluation.json").write_text(json.dumps(evaluation_to_json(evaluation)), encoding="utf-8")
    return {"artifact": evaluation.artifact, "split": evaluation.split}


def _read_evaluation(entry: Entry) -> Evaluation:
    return evaluation_from_json(json.loads((entry.folder / "evaluation.json").read_text(encoding="utf-8")))
