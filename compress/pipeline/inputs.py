"""What a recipe is given: its data and its teacher, read once for all jobs of one process that share them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from compress.core.context import Splits
from compress.core.errors import InputError
from compress.core.recipe import Recipe
from compress.pipeline.encoded_data import EncodedData
from compress.pipeline.make_or_find import Work, find, make_or_find
from compress.pipeline.store import Store
from compress.pipeline.teacher_answers import teacher_answers_of

# The settings that recipes with the same inputs have in common.
OF_INPUTS = ("model", "data", "task", "seed")

Stamps = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, eq=False)
class RecipeInputs:
    """A recipe's data and teacher, as read. Stages have no part in them: recipes that differ in nothing else can share
    them, by InputsCache.

    notes: what the source of the data decided by itself. config: the teacher's. shape: a model of the teacher's shape.
    given: the examples, encoded when first asked for, but for those without labels. splits: those that were read.
    identify: says what the teacher is, by content. answers: what the teacher said of the examples, where that stands
    for their labels.
    """

    notes: tuple[str, ...]
    config: Any
    shape: PreTrainedModel
    given: EncodedData
    splits: Splits
    identify: Callable[[], Mapping[str, Any]]
    answers: tuple[Work[Any], ...] = ()
    _by_processor: dict[str, EncodedData] = field(default_factory=dict)

    @classmethod
    def read(cls, recipe: Recipe, *, ahead: bool = False) -> RecipeInputs:
        """Read the data and look at the teacher. Raises InputError where they cannot be used, and writes nothing.

        ahead: for a plan. What the teacher would have to be asked for, and is only judged by, is foreseen where the
        task can: see `Task.foresee_answers`. Nothing that was made with such answers is in a store.
        """
        splits, task = recipe.data.load(), recipe.task
        config, processor = recipe.teacher.read(task, splits.train)
        shape = recipe.teacher.look(task, config)
        given = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        known = {name: split for name, split in given.items() if split is not None}
        identify, notes, answers = cache(recipe.teacher.identity), splits.notes, []
        if task.asks_teacher:
            notes = (*notes, task.about_answers(known["validation"]))
            for name, split in known.items():
                answer = cache(partial(task.answered, split, shape, processor, config, name))
                answers.append(teacher_answers_of(recipe, identify(), config.model_type, split, answer))
                found = find(recipe.store.resolve(), answers[-1])
                if found is None and ahead:
                    found = task.foresee_answers(split, name)
                known[name] = answer() if found is None else found
        encoded = EncodedData(task, known, processor, config, splits.origins)
        spare = splits.unlabelled_validation
        if spare is not None and task.classes(encoded.split("validation")) is None:
            raise InputError(
                f"data.unlabelled_validation is {recipe.settings['data']['unlabelled_validation']!r}; scores can be "
                f"predicted where accuracy is the metric, and {task.name} is judged by {task.metric(config).title}. "
                "Use null."
            )
        return cls(notes, config, shape, encoded, splits, identify, tuple(answers))

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the teacher is, by content; found when first asked for."""
        return self.identify()

    @cached_property
    def _looked_at(self) -> tuple[EncodedData, tuple[str, ...]]:
        return self.given.looked_at(self.splits.read, once=self.splits.once)

    @property
    def labelled(self) -> EncodedData:
        """The examples that have labels, without those that are encoded alike where only one of each is wanted; all are
        encoded. Raises InputError where one cannot be."""
        return self._looked_at[0]

    @cached_property
    def encoded(self) -> tuple[EncodedData, tuple[str, ...]]:
        """All examples as the teacher's processor encodes them, the unlabelled ones too where there are any, and all
        notes. Raises InputError where they cannot be used."""
        encoded, told = self._looked_at
        notes = (*self.notes, *told)
        if self.splits.unlabelled is not None:
            encoded, note = encoded.with_unlabelled(self.splits.unlabelled)
            notes = (*notes, note)
        if self.splits.unlabelled_validation is not None:
            encoded, note = encoded.with_spare(self.splits.unlabelled_validation)
            notes = (*notes, note)
        return encoded, notes

    def encoded_by(self, artifact: str, processor_and_config: Callable[[], tuple[Any, Any]]) -> EncodedData:
        """The same as the processor encodes them that an artifact brought, by the artifact's key."""
        if artifact not in self._by_processor:
            self._by_processor[artifact] = self.encoded[0].encoded_by(*processor_and_config())
        return self._by_processor[artifact]

    def keep_answers(self, store: Store) -> None:
        """Let the next run find what the teacher answered."""
        for work in self.answers:
            make_or_find(store, work)


class InputsCache:
    """The inputs of the latest recipes, `most` of them, or of all where None.

    They are used again for a recipe that reads the same, as long as every file that they were read from has the size,
    the times of change and the place on the disk that it had. Sources of data and teachers name those files in
    `files()`; what one of them reads that does not is read anew each time.
    """

    def __init__(self, most: int | None, *, ahead: bool = False) -> None:
        """ahead: see `RecipeInputs.read`."""
        self._most, self._ahead = most, ahead
        self._kept: dict[str, tuple[Stamps, RecipeInputs]] = {}

    def read(self, recipe: Recipe) -> RecipeInputs:
        """Read for this recipe, now or before. Raises InputError as `RecipeInputs.read` does."""
        key = json.dumps([recipe.settings[part] for part in OF_INPUTS], sort_keys=True, default=str)
        # Taken before anything is read: what changes meanwhile is read again for the next recipe.
        stamps = _stamps(recipe)
        before, inputs = self._kept.pop(key, (None, None))
        if inputs is None or stamps is None or stamps != before:
            inputs = RecipeInputs.read(recipe, ahead=self._ahead)
        if stamps is not None:
            self._kept[key] = stamps, inputs
            for oldest in list(self._kept)[: 0 if self._most is None else -self._most]:
                del self._kept[oldest]
        return inputs


def _stamps(recipe: Recipe) -> Stamps | None:
    """What tells whether a file has changed, of each that the recipe's data and teacher are read from; None where one
    of the two does not name them, or one of them cannot be looked at: reading it says why."""
    stamps: list[tuple[Any, ...]] = []
    for part in (recipe.data, recipe.teacher):
        files = part.files()
        if files is None:
            return None
        try:
            stamps += [_stamp(path) for path in sorted(files)]
        except OSError:
            return None
    return tuple(stamps)


def _stamp(path: Path) -> tuple[Any, ...]:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
