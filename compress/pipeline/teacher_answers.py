"""What the teacher answers to examples without labels, where the task takes its answers for the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset, concatenate_datasets

from compress.core.recipe import Recipe
from compress.data.splits import fingerprint
from compress.pipeline.keys import teacher_answers_key
from compress.pipeline.make_or_find import Facts, Work
from compress.pipeline.store import Entry, Store

FILE = "answers.parquet"


def teacher_answers_of(
    recipe: Recipe, identity: Mapping[str, Any], model_type: str, examples: Dataset, answer: Callable[[], Dataset]
) -> Work[Dataset]:
    """The examples with the columns that the task's `answered` adds. identity: what the teacher is. model_type: its
    configuration's. answer: gives them answered."""

    def make(store: Store, folder: Path) -> Facts:
        answered = answer()
        added = [name for name in answered.column_names if name not in examples.column_names]
        # A task may need no answers to the examples of a split.
        if added:
            pq.write_table(answered.select_columns(added).with_format("arrow")[:], folder / FILE)
        return {"columns": added, "examples": len(answered)}

    def read(entry: Entry) -> Dataset:
        if not entry.facts["columns"]:
            return examples
        return concatenate_datasets([examples, Dataset(pq.read_table(entry.folder / FILE))], axis=1)

    key = teacher_answers_key(recipe, identity, model_type, fingerprint(examples))
    return Work(kind="teacher-answers", key=key, make=make, read=read, what="the teacher's answers")
