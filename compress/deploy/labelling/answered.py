"""Texts of the user's own, as the teacher and the exported model of a run answer them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from compress.core.errors import InputError
from compress.core.recipe import Recipe
from compress.data.assemble import SPARE
from compress.data.unlabelled import rows_read
from compress.pipeline.encoded_data import ABOUT
from compress.pipeline.inputs import RecipeInputs
from compress.pipeline.loaded_recipe import LoadedRecipe, load
from compress.pipeline.made.artifacts import teacher_artifact
from compress.pipeline.made.outputs import outputs_of
from compress.pipeline.make_or_find import find, find_entry, make_or_find

OF_GROUP = "group of text"


@dataclass(frozen=True)
class Answered:
    """examples: the texts, as read, without those that the run has seen. groups: of each, equal where they belong
    together. teacher, student: numbers of the classes that the two answer, (texts,). names: of classes. seen: how many
    texts were left out because the run learned or chose by them."""

    examples: Dataset
    groups: Sequence[int]
    teacher: np.ndarray
    student: np.ndarray
    names: Sequence[str]
    seen: int


def answered(run: Path, recipe: Recipe, summary: Mapping[str, Any], texts: Dataset, group: str | None) -> Answered:
    """Both models' answers, made now or found in the run's store. summary: what the run's says. group: the column that
    says which texts belong together; None: equal ones do.

    Raises InputError where the task is not judged by accuracy, where the store has not what the run made, or where the
    run has seen every text.
    """
    # A column of this name would be taken for groups that the run's own data numbers.
    plain = texts.rename_columns({name: OF_GROUP for name in texts.column_names if name == "group"})
    group = OF_GROUP if group == "group" else group
    inputs = RecipeInputs.read(recipe)
    loaded, store = load(
        recipe,
        warn=lambda message: None,
        check=lambda *given: None,
        read=lambda recipe: _with_texts(recipe, inputs, plain),
    )
    root = store.root
    teacher = find(root, teacher_artifact(loaded).as_entry())
    student = find_entry(root, "artifacts", str(summary["exported"]["artifact"]))
    for what, entry in {"teacher": teacher, "exported model": student}.items():
        if entry is None:
            raise InputError(
                f"{run} has been judged, and its store {root} has not the {what} of it now. Is its training data as it "
                f"was? To make it again: {summary.get('command') or 'run the recipe again'}"
            )
    assert teacher is not None and student is not None
    answers = [make_or_find(store, outputs_of(loaded, entry)).texts.argmax(axis=1) for entry in (teacher, student)]
    return _fresh(loaded, inputs.splits.unlabelled_validation, len(texts), answers[0], answers[1], group)


def _with_texts(recipe: Recipe, inputs: RecipeInputs, texts: Dataset) -> RecipeInputs:
    if recipe.task.classes(inputs.given.split("validation")) is None:
        raise InputError(
            f"{recipe.task.name} is judged by {recipe.task.metric(inputs.config).title}; only where it is accuracy two "
            "equal answers are known to be worth the same. Label examples of the test split instead."
        )
    return dataclasses.replace(inputs, splits=dataclasses.replace(inputs.splits, unlabelled_validation=texts))


def _fresh(
    loaded: LoadedRecipe,
    judged: Dataset | None,
    given: int,
    before: np.ndarray,
    after: np.ndarray,
    group: str | None,
) -> Answered:
    """Without texts of the validation split, by which stages were chosen, and without those that judged beside it; what
    was learned from, or tested by, was left out before."""
    encoded = loaded.teacher_encoded
    rows, examples = encoded.spare, encoded.examples(SPARE)
    assert rows is not None
    known = set(encoded.split("validation")["group"][:])
    told = [column for column in encoded.split(SPARE).column_names if column not in ABOUT]
    judges = set() if judged is None else set(rows_read(_encoded(loaded, judged), told))
    kept = [
        number
        for number, (of_text, row) in enumerate(zip(rows.groups, rows_read(encoded.split(SPARE), told), strict=True))
        if of_text not in known and row not in judges
    ]
    if not kept:
        raise InputError("--texts holds only texts that the run has seen. Give others.")
    examples = examples.select(kept)
    groups = [rows.groups[number] for number in kept]
    if group is not None:
        values = examples[group][:]
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        groups = [numbers[value] for value in values]
    names = [str(name) for _, name in sorted(loaded.config.id2label.items())]
    return Answered(examples, groups, before[kept], after[kept], names, given - len(kept))


def _encoded(loaded: LoadedRecipe, texts: Dataset) -> Dataset:
    encoded = loaded.teacher_encoded
    plain = texts.remove_columns([name for name in texts.column_names if name == "group"])
    return loaded.recipe.task.encode_unlabelled(plain, encoded.processor, encoded.config)
