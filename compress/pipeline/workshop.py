"""What a run does through the store: every artifact, export and evaluation is made once and found again."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import set_seed

from compress.core.blame import Blame
from compress.core.context import Context, TeacherContext
from compress.core.errors import InputError, ReloadError
from compress.core.evaluation import Evaluation, Proof
from compress.core.latency_table import LatencyTable
from compress.core.recipe import Recipe
from compress.core.signature import Signature
from compress.measure.evaluate import (
    candidate_of,
    evaluation_from_json,
    evaluation_to_json,
    first_of_each,
    score,
    size_of,
    time_candidate,
    torch_ratio_of,
)
from compress.measure.latency_table import measure_low_rank, measure_table
from compress.measure.processes import Candidate
from compress.measure.prove import prove, write_probe
from compress.measure.slices import length_bins
from compress.measure.worker import load_batches
from compress.methods.training.calibration import chosen_rows
from compress.methods.training.processes import once, same
from compress.methods.training.sensitivity import answers
from compress.nn.checkpoint import load_model, save_model, settle
from compress.nn.fusion import LayerSizes
from compress.nn.head import PROBED, positions_read
from compress.nn.layers.fused_layer import FusedLayerSizes
from compress.pipeline.blame.case import Case
from compress.pipeline.keys import plots_key, precision_of
from compress.pipeline.preflight import foreseen
from compress.pipeline.prepared import Check, Material, Prepared
from compress.pipeline.reading import UNLABELLED, Reading
from compress.pipeline.store import Entry, Store, bytes_in
from compress.pipeline.tables import BEGUN_WITH, Tables, begun_with
from compress.report.drawing import Drawing, Plot
from compress.runtimes.torch.runtime import TorchRuntime

BLAME_EXAMPLES = 128


class Workshop(Prepared):
    """A recipe made ready, and the store that its work goes through.

    Opening it reads the data and looks at the teacher, and raises InputError where they cannot be used. See Prepared.
    """

    def __init__(
        self,
        recipe: Recipe,
        warn: Callable[[str], None],
        check: Check,
        read: Callable[[Recipe], Material] = Material.of,
    ) -> None:
        """read: gives the recipe's data and teacher, read before or now."""
        self.store = Store(recipe.store, warn)
        self._tables = Tables(self.store, recipe.runtime.threads)
        try:
            super().__init__(recipe, check, read(recipe))
        except BaseException:
            self.store.leave_none_empty()
            raise

    @property
    def _signature(self) -> Signature:
        """Of the teacher, and of all that is made of it."""
        return self.recipe.task.signature(self.config)

    def content(self, split: str) -> str:
        """What identifies the examples of a split, whoever reads them; "" where there is none."""
        return self._teachers.content(split)

    def teacher(self) -> Entry:
        """The teacher's artifact."""
        reading, key = self._teachers, self.teacher_key()

        def make(target: Path) -> dict[str, Any]:
            began, effort = time.monotonic(), self._effort_from_the_start("teacher", key)
            same(("teacher", key))
            self._save(self._teacher(key), target, reading)
            seconds = time.monotonic() - began
            return {"parent": None, "processor": None, "notes": [], "seconds": seconds, "effort": effort}

        needed = _with_room(4 * self.parameters)
        entry = self.store.entry("artifacts", key, make, what="the teacher", needed_bytes=needed)
        self.store.forget_work(key)
        return entry

    def _teacher(self, key: str) -> Any:
        reading = self._teachers
        context = TeacherContext(
            task=self.recipe.task,
            config=self.config,
            processor=reading.processor,
            train=reading.split("train"),
            device=self.recipe.device,
            seed=self.recipe.seed,
            work_folder=self.store.work_folder(key),
            collate=reading.collate,
        )
        return self.recipe.teacher.make(context)

    def take_part(self, what: str, *given: Any) -> None:
        """Do in a helping process (see `compress.methods.training.processes`) what the main process has begun."""
        if what == "teacher":
            self._teacher(*given)
        else:
            self._apply(*given, notes=[], processors=[])

    def latency_checks(self, teacher: Entry) -> Iterator[tuple[str, Callable[[], None]]]:
        """For each stage its name, and a call that raises InputError where nothing would be as fast as the stage is
        asked for. The first that asks for the latency table measures it."""
        for name, model in foreseen(self.recipe, self._material.shape):
            check = partial(self.recipe.stages[name].check_latency, model)
            yield name, partial(self._check_latency, teacher, check)

    def _check_latency(self, teacher: Entry, check: Callable[[Callable[..., LatencyTable]], None]) -> None:
        try:
            check(lambda sizes: self.latency_table(teacher, sizes, again=False))
        except InputError:
            # Not for the sake of a table that an earlier run measured beside other work.
            check(lambda sizes: self.latency_table(teacher, sizes, again=True))

    def produce(self, stage: str, parent: Entry, teacher: Entry) -> Entry:
        """The artifact that `stage` makes of `parent`."""
        ours, key = self._reading(parent), self.stage_key(stage, parent, teacher)

        def make(target: Path) -> dict[str, Any]:
            began, effort = time.monotonic(), self._effort_from_the_start(stage, key)
            notes: list[str] = []
            processors: list[Any] = []
            same(("stage", stage, parent, teacher, key))
            model = self._apply(stage, parent, teacher, key, notes=notes, processors=processors)
            if processors:
                self._material.readings[key] = ours.read_by(processors[-1], model.config)
            source = key if processors else parent.facts["processor"]
            self._save(model, target, self._material.readings[key] if processors else ours)
            seconds = time.monotonic() - began
            return {"parent": parent.key, "processor": source, "notes": notes, "seconds": seconds, "effort": effort}

        try:
            needed = _with_room(bytes_in(parent.folder))
            entry = self.store.entry("artifacts", key, make, what=f"what {stage} makes", needed_bytes=needed)
        except BaseException:
            # A stage that refuses, or breaks at once, has begun nothing that could be resumed.
            self.store.leave_no_empty_work(key, besides=BEGUN_WITH)
            raise
        self.store.forget_work(key)
        return entry

    def _apply(
        self, stage: str, parent: Entry, teacher: Entry, key: str, *, notes: list[str], processors: list[Any]
    ) -> Any:
        recipe, theirs, ours = self.recipe, self._reading(teacher), self._reading(parent)
        set_seed(recipe.seed)

        def latency(sizes: FusedLayerSizes | LayerSizes, low_rank: bool = False) -> LatencyTable:
            def find() -> LatencyTable:
                return self.latency_table(teacher, sizes, low_rank=low_rank, again=True)

            table = begun_with(self.store.work_folder(key), find)
            doubt = self._tables.doubt(table)
            if doubt is not None:
                notes.append(doubt)
            return table

        context = Context(
            teacher=load_model(teacher.folder),
            teacher_key=teacher.key,
            task=recipe.task,
            processor=ours.processor,
            train=ours.split("train"),
            train_fingerprint=ours.fingerprint("train"),
            unlabelled=ours.unlabelled,
            unlabelled_fingerprint=ours.fingerprint(UNLABELLED),
            spliced=partial(ours.spliced, seed=recipe.seed),
            teacher_reading=theirs.for_student(ours, recipe.seed),
            device=recipe.device,
            seed=recipe.seed,
            threads=recipe.runtime.threads,
            work_folder=self.store.work_folder(key),
            cache_folder=self.store.cache_folder("teacher-outputs"),
            note=notes.append,
            collate=ours.collate,
            use_processor=processors.append,
            latency=lambda sizes, low_rank=False: once(lambda: latency(sizes, low_rank)),
        )
        return recipe.stages[stage].apply(load_model(parent.folder), context)

    def evaluate(self, artifact: Entry, teacher: Entry | None) -> Evaluation:
        """Proof, scores, size, and latency: in turns with the teacher, or for the teacher itself with plain PyTorch."""
        recipe, began = self.recipe, time.monotonic()
        export, proof = self.export(artifact)
        candidate = candidate_of(recipe.runtime, artifact.folder, export, self._signature)
        reading = self._reading(artifact)
        shown = reading if teacher is None else self._reading(teacher)
        if teacher is None:
            plain = TorchRuntime(threads=recipe.runtime.threads)
            baseline = candidate_of(plain, artifact.folder, None, self._signature)
            # Each start of torch takes seconds, and no gate reads this ratio.
            measurement = dataclasses.replace(recipe.measurement, launches=min(2, recipe.measurement.launches))
        else:
            measurement = recipe.measurement
            baseline = candidate_of(recipe.runtime, teacher.folder, self.export(teacher)[0], self._signature)

        def make(target: Path) -> dict[str, Any]:
            # The same examples for both, chosen by the baseline's lengths; each gets them as it reads them.
            lengths = shown.split("validation")["length"]
            evaluation = self._score(candidate, artifact.key, "validation", reading)
            batches = [self._batches("validation", shown), self._batches("validation", reading)]
            latency = time_candidate(candidate, baseline, lengths, batches, measurement)
            measured = dataclasses.replace(
                evaluation,
                latency=latency,
                size=size_of(artifact.folder, export, recipe.runtime),
                proof=proof,
                torch_ratio=torch_ratio_of(latency) if teacher is None else None,
            )
            facts = _write_evaluation(measured, target)
            effort = dataclasses.asdict(self.effort(f"evaluation of a {'teacher' if teacher is None else 'student'}"))
            return {**facts, "seconds": time.monotonic() - began, "effort": effort}

        key = self.evaluation_key(artifact, teacher)
        return _read_evaluation(self.store.entry("evaluations", key, make, what="a measurement"))

    def blame(self, case: Case, teacher: Entry, before: Entry, after: Entry) -> Blame:
        """Why a stage may have missed its accuracy limit, and what to try; teacher, before, after: the case's."""
        recipe, theirs, ours = self.recipe, self._reading(teacher), self._reading(after)

        def make(target: Path) -> dict[str, Any]:
            rows = self._alike(chosen_rows(recipe.seed, len(ours.split("validation")), BLAME_EXAMPLES), theirs, ours)
            shown = [theirs.split("validation")[row] for row in rows]
            reference = answers(load_model(teacher.folder), [theirs.collate([row]) for row in shown], recipe.task)
            sample = [ours.split("validation")[row] for row in rows]
            batches = [ours.collate([row]) for row in sample]
            models = load_model(before.folder), load_model(after.folder)
            found = case.parts(*models, sample, batches, reference, partial(self.latency_table, teacher, again=False))
            return dataclasses.asdict(found)

        key = self.blame_key(case, teacher, before, after)
        found = Blame.from_json(self.store.entry("blame", key, make).facts)
        rows = theirs.split("validation")
        return case.with_slices(found, self._slices(rows))

    def _slices(self, rows: Any) -> dict[str, Sequence[str]]:
        """Names of each judged example's slices; none by length where all are equally long."""
        task = self.recipe.task
        lengths = first_of_each(rows["length"][:], task.units(rows))
        by_length = {"length": length_bins(lengths, task.size_unit)} if len(set(lengths)) > 1 else {}
        return {"class": task.kinds(rows, self.config), **by_length}

    def _alike(self, rows: Sequence[int], theirs: Reading, ours: Reading) -> list[int]:
        """Those of the validation examples whose outputs can be compared: where there is one for each position, both
        must read as many."""
        if not self._signature.per_position:
            return list(rows)
        lengths, others = (reading.split("validation")["length"][:] for reading in (theirs, ours))
        return [row for row in rows if lengths[row] == others[row]]

    def test(self, artifact: Entry) -> Evaluation | None:
        """Scores on the test split, which nothing else reads; None where there is none."""
        if "test" not in self.examples:
            return None
        reading = self._reading(artifact)
        export = self.export(artifact)[0]
        candidate = candidate_of(self.recipe.runtime, artifact.folder, export, self._signature)

        def make(target: Path) -> dict[str, Any]:
            return _write_evaluation(self._score(candidate, artifact.key, "test", reading), target)

        key = self.test_key(artifact)
        return _read_evaluation(self.store.entry("evaluations", key, make, what="the scores on the test split"))

    def latency_table(
        self, teacher: Entry, sizes: FusedLayerSizes | LayerSizes, *, low_rank: bool = False, again: bool
    ) -> LatencyTable:
        """What layers of these sizes cost on this machine, and with `low_rank` their products as two thin ones, each
        measured once. again: once more where an earlier run was disturbed at it; see Tables."""
        recipe, reading = self.recipe, self._reading(teacher)
        shared = {
            "signature": self._signature,
            "lengths": reading.split("validation")["length"],
            "layer": sizes,
            "precision": precision_of(recipe),
        }

        def measure() -> dict[str, Any]:
            export, model = self.export(teacher)[0], load_model(teacher.folder)
            assert export is not None
            few = reading.split("train").select(range(min(PROBED, len(reading.split("train")))))
            table = measure_table(
                recipe.runtime,
                teacher=export,
                model=model,
                reads=positions_read(model, self._signature, reading.collate(list(few))),
                batches=load_batches(self._batches("validation", reading)),
                **shared,
            )
            return table.to_json()

        def measure_ranks() -> dict[str, Any]:
            batches = load_batches(self._batches("validation", reading))
            model = load_model(teacher.folder)
            grids, foreign_share = measure_low_rank(recipe.runtime, model=model, batches=batches, **shared)
            return {"low_rank": grids, "foreign_share": foreign_share}

        key = self._latency_key(teacher, dataclasses.asdict(sizes))
        facts = self._tables.facts(key, measure, "the latency table", again=again)
        if low_rank:
            # An entry of its own: what has no use for ranks shares the rest of the table.
            key = self._latency_key(teacher, dataclasses.asdict(sizes) | {"low_rank": 1})
            more = self._tables.facts(key, measure_ranks, "the latency of low ranks", again=again)
            shares = [found["foreign_share"] for found in (facts, more) if found["foreign_share"] is not None]
            facts = {**facts, "low_rank": more["low_rank"], "foreign_share": max(shares, default=None)}
        return LatencyTable.from_json(facts)

    def export(self, artifact: Entry) -> tuple[Path | None, Proof]:
        """The folder with the runtime's form of an artifact (None where it runs the artifact itself), and the proof
        that the reloaded artifact is the same. Raises ReloadError, and sets the artifact aside, where it is not; what
        else may go wrong is not its fault, and it stays."""
        runtime, task = self.recipe.runtime, self.recipe.task

        def make(target: Path) -> dict[str, Any]:
            return dataclasses.asdict(prove(artifact.folder, target if runtime.form else None, task, runtime))

        try:
            key, needed = self.export_key(artifact), _with_room(bytes_in(artifact.folder))
            entry = self.store.entry("exports", key, make, what="a model's export", needed_bytes=needed)
        except ReloadError as error:
            self.store.set_aside(artifact, str(error))
            raise
        shapes = tuple(tuple(shape) for shape in entry.facts["shapes"])
        return entry.folder if runtime.form else None, Proof(**{**entry.facts, "shapes": shapes})

    def plots(self, drawing: Drawing) -> list[Plot]:
        """Those of a report, drawn once: they take longer than everything else that a run does which finds its work
        done."""

        def make(target: Path) -> dict[str, Any]:
            return {"plots": [dataclasses.asdict(plot) for plot in drawing.plots()]}

        facts = self.store.entry("plots", plots_key(drawing), make, what="a report's plots").facts
        return [Plot(**plot) for plot in facts["plots"]]

    def _effort_from_the_start(self, stage: str, key: str) -> dict[str, Any] | None:
        """See Prepared.effort. None where an earlier run has done a part of it: its time would mislead."""
        begun = any(self.store.work_folder(key).iterdir())
        return None if begun else dataclasses.asdict(self.effort(stage))

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
            self.config,
            split=split,
        )

    def _batches(self, split: str, reading: Reading) -> Path:
        return reading.batches(split, self.store.cache_folder("batches"))


def _with_room(size_bytes: int) -> int:
    """About what writing a model of this size takes: its tokenizer and probes come with it."""
    return round(1.1 * size_bytes) + 2_000_000


def _write_evaluation(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    (folder / "evaluation.json").write_text(json.dumps(evaluation_to_json(evaluation)), encoding="utf-8")
    return {"artifact": evaluation.artifact, "split": evaluation.split}


def _read_evaluation(entry: Entry) -> Evaluation:
    return evaluation_from_json(json.loads((entry.folder / "evaluation.json").read_text(encoding="utf-8")))
