"""Vectors in fewer bytes, as an export itself gives them: their ranges, the proof of its outputs, and their scores."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from compress.core.errors import StageError
from compress.core.kept_vectors import BINARY, INT8, RANGES, KeepsVectors, port_of
from compress.core.task import Task
from compress.measure.accuracy import logits_of, write_batches
from compress.measure.processes import Candidate
from compress.runtimes.onnx.vectors import add_forms
from compress.tasks.ranking import unit
from compress.tasks.stored_vectors import bits_of, int8_of, ranges_of, read_bits, read_int8, steps_of

# Of the training texts, those that the ranges of INT8 are taken from.
CALIBRATION_TEXTS = 2048
# How far from 1 the lengths of vectors in float32 may be that were given this length.
ROUNDING = 1e-4
# How many integers may be a step beside what numpy makes of the same vectors, which sums in another order.
MOST_BESIDE = 0.01


def with_forms(
    candidate: Candidate, forms: Sequence[str], train: Dataset, task: Task, processor: Any, folder: Path, seed: int
) -> np.ndarray:
    """Write the export of `candidate` into `folder` again, with further outputs, and return the ranges of INT8: those
    of training texts, (2, dimensions).

    train: encoded. Where INT8 is among the forms, the ranges lie beside the graph.
    """
    rows = np.random.default_rng(seed).permutation(len(train))[:CALIBRATION_TEXTS]
    with tempfile.TemporaryDirectory() as temporary:
        batches = Path(temporary) / "batches.npz"
        write_batches(train.select(np.sort(rows)), task, processor, candidate.signature, batches)
        vectors = np.concatenate(logits_of(candidate, batches))
    ranges = ranges_of(vectors)
    add_forms(
        candidate.folder,
        folder,
        candidate.signature.output,
        forms,
        ranges=ranges,
        steps=steps_of(ranges),
        at_length_1=bool(np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < ROUNDING),
    )
    if INT8 in forms:
        np.save(folder / RANGES, ranges)
    return ranges


def prove_forms(before: Candidate, after: Candidate, forms: Sequence[str], ranges: np.ndarray, probe: Path) -> None:
    """Open the export with further outputs in fresh processes, and compare: vectors in float are those of the export
    before, bit for bit, and the other forms what numpy makes of them.

    probe: batches of several sizes and lengths. Raises StageError where they are not.
    """
    was, now = (np.concatenate(logits_of(each, probe)) for each in (before, after))
    if not np.array_equal(was, now):
        raise StageError(
            "export.vectors: with further outputs the graph gives other vectors, by up to "
            f"{np.abs(was - now).max():.3g}"
        )
    for form in forms:
        found = np.concatenate(logits_of(giving(after, form), probe))
        beside = np.abs(found - _expected(form, now, ranges))
        # A bit is 0 or 1 whatever the order of sums.
        most, share = (1, MOST_BESIDE) if form == INT8 else (0, 0.0)
        if beside.max() > most or (beside > 0).mean() > share:
            name = port_of(after.signature.output, form).name
            raise StageError(
                f"export.vectors: {name} differs from what its vectors in float make by up to {beside.max():g}, at "
                f"{(beside > 0).mean():.1%} of the numbers; {most} at {share:.0%} is allowed"
            )


def form_statistics(
    candidate: Candidate, forms: Sequence[str], ranges: np.ndarray, examples: Dataset, batches: Path, task: Task
) -> Mapping[str, np.ndarray]:
    """The metric's statistics of each form, (examples, columns), as the export gives it: what is found was kept in that
    form, and what it is looked for with is float."""
    assert isinstance(task, KeepsVectors)
    rows = list(examples)
    vectors = [values[0] for values in logits_of(candidate, batches)]
    found = {}
    for form in forms:
        kept = np.concatenate(logits_of(giving(candidate, form), batches))
        read = read_bits(kept, len(vectors[0])) if form == BINARY else read_int8(kept, ranges)
        found[form] = task.kept_statistics(vectors, rows, form, read)
    return found


def giving(candidate: Candidate, form: str) -> Candidate:
    """The same export, of which another output is read."""
    signature = candidate.signature
    port = port_of(signature.output, form)
    return dataclasses.replace(candidate, signature=dataclasses.replace(signature, output=port, more=()))


def bytes_per_million(form: str, dimensions: int) -> int:
    """What an index keeps of a million texts in this form, without what it needs to find them."""
    each = {INT8: dimensions, BINARY: -(-dimensions // 8)}.get(form, 4 * dimensions)
    return 1_000_000 * each


def _expected(form: str, vectors: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    if form == BINARY:
        return bits_of(vectors).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    directions = vectors if np.abs(lengths - 1).max() < ROUNDING else unit(vectors).astype(np.float32)
    return int8_of(directions, ranges).astype(np.float32)
