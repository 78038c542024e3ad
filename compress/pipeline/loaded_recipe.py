"""A recipe made ready for work: its data read, its teacher looked at, and the keys of all that it will make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from transformers import PreTrainedModel

from compress.core.metric import Metric
from compress.core.recipe import Recipe
from compress.core.words import Teacher
from compress.measure.effort import Effort
from compress.measure.environment import describe_machine
from compress.nn.checkpoint import read_config
from compress.pipeline.blame.case import Case
from compress.pipeline.encoded_data import UNLABELLED, Reading
from compress.pipeline.keys import (
    artifact_key,
    blame_key,
    evaluation_key,
    export_key,
    latency_table_key,
    teacher_key,
)
from compress.pipeline.preflight import check_examples, check_groups
from compress.pipeline.store import Entry

Check = Callable[[Any, Any], None]


@dataclass(frozen=True, eq=False)
class Material:
    """What a recipe's stages have no part in: recipes that differ in nothing else can share it. See `Materials`.

    notes: what the source of the data decided by itself. shape: a model of the teacher's shape. reading: the examples,
    encoded when first asked for. identity: the teacher's, found when first asked for. readings: the examples as
    artifacts read them, by the key of the artifact that brought the processor.
    """

    notes: tuple[str, ...]
    config: Any
    shape: PreTrainedModel
    reading: Reading
    unlabelled: Any
    teacher: Teacher
    readings: dict[str, Reading] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe) -> Material:
        """Read the data and look at the teacher. Raises InputError where they cannot be used."""
        splits = recipe.data.load()
        config, processor = recipe.teacher.read(recipe.task, splits.train)
        shape = recipe.teacher.look(recipe.task, config)
        given = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        known = {name: split for name, split in given.items() if split is not None}
        asked, notes = recipe.task.asks_teacher, splits.notes
        if asked:
            known = {name: recipe.task.answered(split, shape, processor, config, name) for name, split in known.items()}
            notes = (*notes, asked)
        reading = Reading(recipe.task, known, processor, config, splits.origins)
        return cls(notes, config, shape, reading, splits.unlabelled, recipe.teacher)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What the teacher is, by content."""
        return self.teacher.identity()

    @cached_property
    def whole(self) -> tuple[Reading, tuple[str, ...]]:
        """The reading with the unlabelled examples too, where there are any, and all notes. Raises InputError where
        they cannot be used."""
        if self.unlabelled is None:
            return self.reading, self.notes
        reading, note = self.reading.with_unlabelled(self.unlabelled)
        return reading, (*self.notes, note)


class Prepared:
    """A recipe with its data read and encoded, and its checks passed.

    `check(model, processor)` sees a model of the teacher's shape, and its processor, before the examples are encoded.
    An artifact is shown examples as its own processor reads them. parameters: the teacher's.
    """

    def __init__(self, recipe: Recipe, check: Check, material: Material | None = None) -> None:
        self.recipe = recipe
        self._material = material = material or Material.of(recipe)
        self.config, reading = material.config, material.reading
        check(material.shape, reading.processor)
        self.examples = {name: reading.split(name) for name in reading.names}
        check_groups(self.examples["validation"]["group"][:])
        check_examples(recipe, material.shape, self.examples["train"]["length"][:])
        self.parameters = sum(parameter.numel() for parameter in material.shape.parameters())
        self._teachers, self.notes = material.whole

    def teacher_key(self) -> str:
        """The key of the teacher's artifact."""
        identity, kind = self._material.identity, self.config.model_type
        return teacher_key(self.recipe, identity, kind, self._teachers.fingerprint("train"))

    def stage_key(self, stage: str, parent: Entry, teacher: Entry) -> str:
        """The key of what `stage` makes of `parent`, known before it is made."""
        theirs, ours = self._reading(teacher), self._reading(parent)
        prints = _joined("train", ours, theirs), _joined(UNLABELLED, ours, theirs)
        measured = self._latency_key(teacher, {}) if self.recipe.stages[stage].uses_latency else ""
        return artifact_key(self.recipe, stage, parent.key, teacher.key, self.config.model_type, *prints, measured)

    def export_key(self, artifact: Entry) -> str:
        """The key of an artifact's export."""
        return export_key(self.recipe, artifact.key)

    def evaluation_key(self, artifact: Entry, teacher: Entry | None) -> str:
        """The key of what is measured on the validation split, in turns with the teacher where it is given."""
        reading = self._reading(artifact)
        shown = reading if teacher is None else self._reading(teacher)
        against = "" if teacher is None else teacher.key
        return evaluation_key(self.recipe, artifact.key, against, _joined("validation", reading, shown), timed=True)

    def test_key(self, artifact: Entry) -> str:
        """The key of an artifact's scores on the test split."""
        return evaluation_key(self.recipe, artifact.key, "", self._reading(artifact).fingerprint("test"), timed=False)

    def blame_key(self, case: Case, teacher: Entry, before: Entry, after: Entry) -> str:
        """The key of what was found out about a stage that missed its limits; teacher, before, after: the case's."""
        entries = (teacher.key, before.key, after.key)
        shown = _joined("validation", self._reading(after), self._reading(teacher))
        return blame_key(self.recipe, entries, shown, case.identity())

    def effort(self, work: str) -> Effort:
        """What the time of a stage goes with; of the `teacher`, too, and of an `evaluation` of it or of a student."""
        recipe = self.recipe
        return Effort.of(
            recipe,
            work,
            examples=len(self._learned_from),
            tokens=self.tokens,
            judged_tokens=sum(self.examples["validation"]["length"][:]),
            parameters=self.parameters,
            machine=str(describe_machine(recipe.runtime)["cpu"]),
        )

    @property
    def metric(self) -> Metric:
        """What the models are judged by."""
        return self.recipe.task.metric(self.config)

    @property
    def tokens(self) -> int:
        """Of all examples to learn from, with labels and without, as the teacher reads them."""
        return sum(self._learned_from)

    @property
    def _learned_from(self) -> list[int]:
        # A column by itself is read row by row, as it is gone through; cut out, at once.
        unlabelled = self._teachers.unlabelled
        return self.examples["train"]["length"][:] + ([] if unlabelled is None else unlabelled["length"][:])

    def _latency_key(self, teacher: Entry, sizes: dict[str, int]) -> str:
        lengths = self._reading(teacher).split("validation")["length"]
        return latency_table_key(self.recipe, teacher.key, lengths, sizes)

    def _reading(self, artifact: Entry) -> Reading:
        """The examples as an artifact's own processor reads them."""
        source, known = artifact.facts["processor"], self._material.readings
        if source is None:
            return self._teachers
        if source not in known:
            processor = self.recipe.task.load_processor(artifact.folder)
            known[source] = self._teachers.read_by(processor, read_config(artifact.folder))
        return known[source]


def _joined(split: str, ours: Reading, theirs: Reading) -> str:
    """What two readings of a split contain: one fingerprint where they are one."""
    return "+".join(dict.fromkeys((ours.fingerprint(split), theirs.fingerprint(split))))
