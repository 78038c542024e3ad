"""A recipe made ready for work: its data read, its teacher looked at, and the keys of all that it will make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from compress.blame.case import Case
from compress.core.recipe import Recipe
from compress.keys import (
    artifact_key,
    blame_key,
    evaluation_key,
    export_key,
    latency_table_key,
    teacher_key,
)
from compress.measure.effort import Effort
from compress.measure.environment import describe_machine
from compress.models.checkpoint import read_config
from compress.preflight import check_examples
from compress.reading import UNLABELLED, Reading
from compress.store import Entry

Check = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Material:
    """What a recipe's stages have no part in: recipes that differ in nothing else can share it.

    notes: what the source of the data decided by itself. shape: a model of the teacher's shape. reading: the examples,
    encoded when first asked for.
    """

    notes: tuple[str, ...]
    config: Any
    shape: PreTrainedModel
    reading: Reading
    unlabelled: Any

    @classmethod
    def of(cls, recipe: Recipe) -> Material:
        """Read the data and look at the teacher. Raises InputError where they cannot be used."""
        splits = recipe.data.load()
        config, processor = recipe.teacher.read(recipe.task, splits.train)
        shape = recipe.teacher.look(recipe.task, config)
        given = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        known = {name: split for name, split in given.items() if split is not None}
        return cls(splits.notes, config, shape, Reading(recipe.task, known, processor, config), splits.unlabelled)


class Prepared:
    """A recipe with its data read and encoded, and its checks passed.

    `check(model, processor)` sees a model of the teacher's shape, and its processor, before the examples are encoded.
    An artifact is shown examples as its own processor reads them. parameters: the teacher's.
    """

    def __init__(self, recipe: Recipe, check: Check, material: Material | None = None) -> None:
        self.recipe = recipe
        material = material or Material.of(recipe)
        self.notes, self.config, reading = material.notes, material.config, material.reading
        check(material.shape, reading.processor)
        self.examples = {name: reading.split(name) for name in reading.names}
        check_examples(recipe, material.shape, list(self.examples["train"]["length"]))
        self.parameters = sum(parameter.numel() for parameter in material.shape.parameters())
        if material.unlabelled is not None:
            reading, note = reading.with_unlabelled(material.unlabelled)
            self.notes = (*self.notes, note)
        # By the artifact that brought its processor; None is the teacher.
        self._readings: dict[str | None, Reading] = {None: reading}

    def teacher_key(self) -> str:
        """The key of the teacher's artifact."""
        return teacher_key(self.recipe, self._readings[None].fingerprint("train"))

    def stage_key(self, stage: str, parent: Entry, teacher: Entry) -> str:
        """The key of what `stage` makes of `parent`, known before it is made."""
        theirs, ours = self._reading(teacher), self._reading(parent)
        prints = _joined("train", ours, theirs), _joined(UNLABELLED, ours, theirs)
        measured = self._latency_key(teacher, {}) if getattr(self.recipe.stages[stage], "uses_latency", False) else ""
        return artifact_key(self.recipe, stage, parent.key, teacher.key, *prints, measured)

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
            judged_tokens=sum(self.examples["validation"]["length"]),
            parameters=self.parameters,
            machine=str(describe_machine(recipe.runtime)["cpu"]),
        )

    @property
    def tokens(self) -> int:
        """Of all examples to learn from, with labels and without, as the teacher reads them."""
        return sum(self._learned_from)

    @property
    def _learned_from(self) -> list[int]:
        unlabelled = self._readings[None].unlabelled
        return [*self.examples["train"]["length"], *([] if unlabelled is None else unlabelled["length"])]

    def _latency_key(self, teacher: Entry, sizes: dict[str, int]) -> str:
        lengths = self._reading(teacher).split("validation")["length"]
        return latency_table_key(self.recipe, teacher.key, lengths, sizes)

    def _reading(self, artifact: Entry) -> Reading:
        """The examples as an artifact's own processor reads them."""
        source = artifact.facts["processor"]
        if source not in self._readings:
            processor = self.recipe.task.load_processor(artifact.folder)
            self._readings[source] = self._readings[None].read_by(processor, read_config(artifact.folder))
        return self._readings[source]


def _joined(split: str, ours: Reading, theirs: Reading) -> str:
    """What two readings of a split contain: one fingerprint where they are one."""
    return "+".join(dict.fromkeys((ours.fingerprint(split), theirs.fingerprint(split))))
