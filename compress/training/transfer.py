"""The transfer set: all examples that a student imitates its teacher on, labelled ones first."""

from __future__ import annotations

from datasets import Dataset, concatenate_datasets

from compress.core.context import Context, TeacherReading


def transfer_set(read: Context | TeacherReading) -> Dataset:
    """The training split, and the unlabelled examples after it where there are any."""
    if read.unlabelled is None:
        return read.train
    return concatenate_datasets([read.train, read.unlabelled])


def transfer_fingerprint(read: Context | TeacherReading) -> tuple[str, str]:
    """What the transfer set depends on, by content."""
    return read.train_fingerprint, read.unlabelled_fingerprint


def as_teacher_reads(context: Context) -> Context | TeacherReading:
    """Where the examples are as the teacher's own processor reads them."""
    return context.teacher_reading or context
