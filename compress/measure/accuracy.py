"""Scores per example, from the logits that the runtime itself gives, one example at a time: as it will be used."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from compress.core.task import Task
from compress.measure.processes import Candidate, Worker
from compress.measure.worker import save_batches


def batches_of(examples: Dataset, task: Task, processor: Any) -> list[dict[str, np.ndarray]]:
    """Each example as a batch of one row, without padding."""
    batches = []
    for row in examples:
        batch = task.collate([row], processor)
        batches.append({name: batch[name].numpy() for name in task.inputs})
    return batches


def logits_of(candidate: Candidate, batches: Path) -> list[np.ndarray]:
    """The logits of every example, computed in a process of its own."""
    with tempfile.TemporaryDirectory() as folder, Worker(candidate, batches) as worker:
        path = Path(folder) / "logits.npz"
        count = worker.ask({"logits": str(path)})["rows"]
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[f"arr_{i}"] for i in range(count)]


def write_batches(examples: Dataset, task: Task, processor: Any, path: Path) -> None:
    """`batches_of` the examples, in a file that workers read."""
    save_batches(batches_of(examples, task, processor), path)
