"""What the runtime itself answers to each example, one at a time: as it will be used."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from compress.core.signature import Signature
from compress.core.spent import spending
from compress.core.task import Task
from compress.measure.processes import Timed, Worker
from compress.measure.worker import save_batches
from compress.nn.forward import numpy_batch


def batches_of(examples: Dataset, task: Task, processor: Any, signature: Signature) -> Iterator[dict[str, np.ndarray]]:
    """Each example as a batch of one row, without padding."""
    for row in examples:
        yield numpy_batch(signature, task.collate([row], processor))


def logits_of(candidate: Timed, batches: Path) -> list[np.ndarray]:
    """The outputs of every example, (1, ...), computed in a process of its own."""
    with (
        spending("answers that are judged"),
        tempfile.TemporaryDirectory() as folder,
        Worker(candidate, batches) as worker,
    ):
        path = Path(folder) / "outputs.npz"
        count = worker.ask({"outputs": str(path)})["rows"]
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[f"arr_{i}"] for i in range(count)]


def write_batches(examples: Dataset, task: Task, processor: Any, signature: Signature, path: Path) -> None:
    """`batches_of` the examples, in a file that workers read."""
    save_batches(batches_of(examples, task, processor, signature), path)
