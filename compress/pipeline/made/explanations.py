"""Why a stage may have missed its accuracy limit, and what to try."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from compress.core.blame import Blame
from compress.measure.evaluate import first_of_each
from compress.measure.slices import length_bins
from compress.methods.training.calibration import chosen_rows
from compress.methods.training.sensitivity import answers
from compress.nn.checkpoint import load_model
from compress.pipeline.blame.case import Case
from compress.pipeline.encoded_data import EncodedData, joined_fingerprint
from compress.pipeline.keys import blame_key
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.made.latency_tables import latency_table
from compress.pipeline.make_or_find import Facts, Work
from compress.pipeline.store import Entry, Store

EXAMPLES = 128


def explanation_of(loaded: LoadedRecipe, case: Case, teacher: Entry, before: Entry, after: Entry) -> Work[Blame]:
    """Of a case whose models are these: the teacher, the one before the stage, and its result."""
    recipe, of_teacher, of_student = loaded.recipe, loaded.encoded(teacher), loaded.encoded(after)

    def make(store: Store, folder: Path) -> Facts:
        drawn = chosen_rows(recipe.seed, len(of_student.split("validation")), EXAMPLES)
        rows = [] if _other_tokens(loaded, after) else _comparable(loaded, drawn, of_teacher, of_student)
        shown = [of_teacher.split("validation")[row] for row in rows]
        reference = answers(load_model(teacher.folder), [of_teacher.collate([row]) for row in shown], recipe.task)
        sample = [of_student.split("validation")[row] for row in rows]
        batches = [of_student.collate([row]) for row in sample]
        models = load_model(before.folder), load_model(after.folder)
        latency = partial(latency_table, loaded, store, teacher, again=False)
        return dataclasses.asdict(case.parts(*models, sample, batches, reference, latency))

    def read(entry: Entry) -> Blame:
        return case.with_slices(Blame.from_json(entry.facts), _slices(loaded, of_teacher.split("validation")))

    shown = joined_fingerprint("validation", of_student, of_teacher)
    entries = (teacher.key, before.key, after.key)
    return Work(kind="blame", key=blame_key(recipe, entries, shown, case.identity()), make=make, read=read)


def _other_tokens(loaded: LoadedRecipe, after: Entry) -> bool:
    """Whether the stage's result writes other tokens than the teacher."""
    return loaded.signature.decoding is not None and after.facts["processor"] is not None


def _comparable(
    loaded: LoadedRecipe, rows: Sequence[int], of_teacher: EncodedData, of_student: EncodedData
) -> list[int]:
    """Those of the validation examples whose outputs can be compared: where there is one for each position, both must
    read as many."""
    if not loaded.signature.per_position:
        return list(rows)
    lengths, others = (encoded.split("validation")["length"][:] for encoded in (of_teacher, of_student))
    return [row for row in rows if lengths[row] == others[row]]


def _slices(loaded: LoadedRecipe, rows: Any) -> dict[str, Sequence[str]]:
    """Names of each judged example's slices; none by length where all are equally long."""
    task = loaded.recipe.task
    lengths = first_of_each(rows["length"][:], task.units(rows))
    by_length = {"length": length_bins(lengths, task.size_unit)} if len(set(lengths)) > 1 else {}
    return {"class": task.kinds(rows, loaded.config), **by_length}
