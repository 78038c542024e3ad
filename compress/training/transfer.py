"""The transfer set: all examples that a student imitates its teacher on, labelled ones first."""

from __future__ import annotations

from datasets import Dataset, concatenate_datasets

from compress.core.words import Context


def transfer_set(context: Context) -> Dataset:
    """The training split, and the unlabelled examples after it where there are any."""
    if context.unlabelled is None:
        return context.train
    return concatenate_datasets([context.train, context.unlabelled])


def transfer_fingerprint(context: Context) -> tuple[str, str]:
    """What the transfer set depends on, by content."""
    return context.train_fingerprint, context.unlabelled_fingerprint
