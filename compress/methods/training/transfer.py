"""The transfer set: all examples that a student imitates its teacher on, labelled ones first, made-up ones last."""

from __future__ import annotations

from datasets import Dataset, concatenate_datasets

from compress.core.context import Context, TeacherReading
from compress.data.splits import fingerprint


def found_examples(read: Context | TeacherReading) -> int:
    """How many examples of the transfer set nobody made up."""
    return len(read.train) + (0 if read.unlabelled is None else len(read.unlabelled))


def transfer_set(read: Context | TeacherReading, spliced: int = 0) -> Dataset:
    """The training split, the unlabelled examples after it where there are any, and then `spliced` made-up ones."""
    parts = [read.train, read.unlabelled, read.spliced(spliced) if spliced else None]
    return concatenate_datasets([part for part in parts if part is not None])


def transfer_fingerprint(read: Context | TeacherReading, spliced: int = 0) -> tuple[str, ...]:
    """What the transfer set depends on, by content."""
    found = read.train_fingerprint, read.unlabelled_fingerprint
    return (*found, fingerprint(read.spliced(spliced))) if spliced else found


def as_teacher_reads(context: Context) -> Context | TeacherReading:
    """Where the examples are as the teacher's own processor reads them."""
    return context.teacher_reading or context
