"""Whether an example gets the same answer alone and among others: an export may promise it, or break it by rounding."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from compress.core.evaluation import BatchEffect
from compress.core.signature import Signature
from compress.core.task import Task
from compress.measure.accuracy import logits_of
from compress.measure.latency import representative
from compress.measure.processes import Candidate
from compress.measure.worker import save_batches
from compress.nn.forward import numpy_batch

EXAMPLES = 256
BATCH = 32
# Where outputs are too large to be kept, so many of them are a gigabyte.
EXAMPLES_OF_LARGE_OUTPUTS, BATCH_OF_LARGE_OUTPUTS = 32, 4


def measure_batch_effect(
    candidate: Candidate, examples: Dataset, task: Task, processor: Any, signature: Signature, seed: int
) -> BatchEffect:
    """At most 256 examples of evenly spread lengths, each alone and then in batches of 32 (32 in batches of 4, where
    outputs are large), which `seed` draws so that short ones are padded to long ones."""
    large = signature.asked is not None
    size = BATCH_OF_LARGE_OUTPUTS if large else BATCH
    chosen = representative(examples["length"][:], EXAMPLES_OF_LARGE_OUTPUTS if large else EXAMPLES)
    drawn = np.random.default_rng(seed).permutation(len(chosen)).tolist()
    parts = [drawn[start : start + size] for start in range(0, len(drawn), size)]
    rows: list[Mapping[str, Any]] = [examples[row] for row in chosen]
    batches = [
        numpy_batch(signature, task.collate([rows[i] for i in part], processor))
        for part in [*([i] for i in range(len(rows))), *parts]
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batches.npz"
        save_batches(batches, path)
        outputs = logits_of(candidate, path)
    found = [signature.rows(output, batch) for output, batch in zip(outputs, batches, strict=True)]
    alone = [row for (row,) in found[: len(rows)]]
    in_batches = [row for part in found[len(rows) :] for row in part]
    together = dict(zip(drawn, in_batches, strict=True))
    return effect(alone, [together[i] for i in range(len(rows))], task, size)


def effect(alone: Sequence[np.ndarray], together: Sequence[np.ndarray], task: Task, batch: int = BATCH) -> BatchEffect:
    """alone, together: of each example its output, without padding. batch: how many stood together."""
    largest = max(float(np.abs(one - other).max()) for one, other in zip(alone, together, strict=True))
    return BatchEffect(rows=len(alone), batch=batch, largest_difference=largest, changed=task.changed(alone, together))


def told(found: BatchEffect) -> str:
    """In a sentence."""
    return (
        f"alone against in batches of {found.batch}: {found.changed} of {found.rows} examples get another answer, "
        f"outputs differ by up to {found.largest_difference:.2g}"
    )
