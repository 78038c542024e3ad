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
    texts were left out because the run learned or chose by them. notes: what to tell of that, in sentences."""

    examples: Dataset
    groups: Sequence[int]
    teacher: np.ndarray
    student: np.ndarray
    names: Sequence[str]
    seen: int
    notes: tuple[str, ...]


def answered(run: Path, recipe: Recipe, summary: Mapping[str, Any], texts: Dataset, group: str | None) -> Answered:
    """Both models' answers, made now or found in the run's store. summary: what the run's says. group: the column that
    says which texts belong together; None: that of the run's own data where it has one, or else equal ones do. Texts of
    a group that the run's own data holds are left out.

    Raises InputError where the task is not judged by accuracy, where the store has not what the run made, where texts
    do not say which group they are of and the run's data does, or where the run has seen every text.
    """
    group = group_of(run, recipe, texts, group)
    inputs = RecipeInputs.read(recipe)
    texts, given = _of_new_groups(recipe, inputs, texts, group), len(texts)
    notes = _about_groups(inputs, group, given - len(texts))
    # A column of this name would be taken for groups that the run's own data numbers.
    plain = texts.rename_columns({name: OF_GROUP for name in texts.column_names if name == "group"})
    group = OF_GROUP if group == "group" else group
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
    found = _fresh(loaded, inputs.splits.unlabelled_validation, given, answers[0], answers[1], group)
    return dataclasses.replace(found, notes=notes)


def group_of(run: Path, recipe: Recipe, texts: Dataset, group: str | None) -> str | None:
    """The column that says which texts belong together; None where nobody said. Raises InputError where the run's own
    data has groups and the texts do not say theirs."""
    own = own_group(recipe)
    if own is None:
        return group
    column = own if group is None else group
    if column not in texts.column_names:
        raise InputError(
            f"{run} was made with data.group={own}, and --texts has no such column, but "
            f"{', '.join(texts.column_names)}: texts of groups that it learned from could not be left out. Add the "
            "column, or name the one that holds the same with --group COLUMN."
        )
    missing = [row for row, value in enumerate(texts[column][:]) if value is None]
    if missing:
        raise InputError(
            f"{len(missing)} of --texts have no value in {column}, which says which group they are of; the first is "
            f"number {missing[0] + 1}. Fill the column."
        )
    return column


def own_group(recipe: Recipe) -> str | None:
    """The column of the run's own data by which examples belong together, as its source was told; None where it was
    not."""
    told = recipe.settings["data"]["source"].get("group")
    return told if isinstance(told, str) else None


def _of_new_groups(recipe: Recipe, inputs: RecipeInputs, texts: Dataset, group: str | None) -> Dataset:
    """Without texts of a group that the run learned from, chose by or was tested by. Groups are the same whose values
    are, as text. Raises InputError where none is left."""
    own, further = own_group(recipe), inputs.splits.unlabelled
    if group is None or own is None:
        return texts
    known = set(inputs.splits.groups)
    if further is not None and own in further.column_names:
        known.update(str(value) for value in further[own][:] if value is not None)
    kept = [row for row, value in enumerate(texts[group][:]) if str(value) not in known]
    if not kept:
        raise InputError(f"--texts holds only texts of groups ({group}) that the run has seen. Give others.")
    return texts.select(kept)


def _about_groups(inputs: RecipeInputs, group: str | None, gone: int) -> tuple[str, ...]:
    if gone:
        return (
            f"{gone:,} texts are of groups ({group}) that the run has seen, and are left out with the rest of these",
        )
    if not inputs.splits.groups and "group" in inputs.splits.train.column_names:
        # Groups that the source itself numbers, such as the articles of a package.
        return (
            "the run's own data has groups that nothing in --texts names: only texts that are equal to one of its own "
            "are left out, and not others of their groups",
        )
    return ()


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
    return Answered(examples, groups, before[kept], after[kept], names, given - len(kept), ())


def _encoded(loaded: LoadedRecipe, texts: Dataset) -> Dataset:
    encoded = loaded.teacher_encoded
    plain = texts.remove_columns([name for name in texts.column_names if name == "group"])
    return loaded.recipe.task.encode_unlabelled(plain, encoded.processor, encoded.config)
