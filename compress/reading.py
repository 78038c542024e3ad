"""A recipe's examples as one processor reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from compress.core.words import Task
from compress.data.splits import fingerprint
from compress.measure.accuracy import write_batches


class Reading:
    """Each split encoded, when it is first asked for. processor, config: of the model that will see the rows."""

    def __init__(self, task: Task, splits: Mapping[str, Dataset], processor: Any, config: Any) -> None:
        self.processor = processor
        self._task, self._splits, self._config = task, splits, config
        self._encoded: dict[str, Dataset] = {}
        self._fingerprints: dict[str, str] = {}

    def split(self, name: str) -> Dataset:
        """The encoded rows of a split."""
        if name not in self._encoded:
            self._encoded[name] = self._task.encode(self._splits[name], self.processor, self._config, name)
        return self._encoded[name]

    def fingerprint(self, name: str) -> str:
        """The content of the encoded rows."""
        if name not in self._fingerprints:
            self._fingerprints[name] = fingerprint(self.split(name))
        return self._fingerprints[name]

    def collate(self, rows: Any) -> dict[str, Any]:
        """One padded batch."""
        return self._task.collate(rows, self.processor)

    def batches(self, name: str, folder: Path) -> Path:
        """A split's inputs in a file of `folder` that workers read."""
        path = folder / f"{self.fingerprint(name)}.npz"
        if not path.exists():
            temporary = path.with_name(f"{path.stem}.{os.getpid()}.npz")
            write_batches(self.split(name), self._task, self.processor, temporary)
            temporary.rename(path)
        return path
