"""What the teacher says about every training example: computed once for each data set, then read from the disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from compress.core.words import Context
from compress.models.family import hidden_size

LARGEST_SHARE_OF_FREE_DISK = 0.5
BATCH = 64


class TeacherOutputs:
    """Logits (float32) and, for each wanted layer, the hidden states (float16) of all examples, as memory maps.

    Where the hidden states would take more than half of the free disk, `stores_hidden` is False and only the logits
    are there: whoever wants hidden states runs the teacher.
    """

    def __init__(self, context: Context, layers: Sequence[int]) -> None:
        self._context, self._layers = context, tuple(layers)
        self._lengths = np.asarray(context.teacher_train["length"], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])
        key = hashlib.sha256(json.dumps([context.teacher_key, context.train_fingerprint]).encode()).hexdigest()[:32]
        self._folder = context.cache_folder / key
        self._folder.mkdir(parents=True, exist_ok=True)
        needed = self._missing_bytes()
        free = shutil.disk_usage(self._folder).free
        self.stores_hidden = needed <= free * LARGEST_SHARE_OF_FREE_DISK
        if not self.stores_hidden:
            context.note(
                f"the teacher's hidden states would take {needed / 1e9:.1f} GB of {free / 1e9:.1f} GB free, so the "
                "teacher runs again for every batch"
            )
        self._compute_missing()
        self._logits = np.load(self._path("logits"), mmap_mode="r")
        self._hidden = {n: np.load(self._path(f"hidden-{n}"), mmap_mode="r") for n in self._stored_layers()}

    def logits(self, rows: Sequence[int]) -> Tensor:
        """(len(rows), ...)."""
        return torch.from_numpy(np.stack([self._logits[row] for row in rows]))

    def hidden(self, layer: int, rows: Sequence[int], width: int) -> Tensor:
        """(len(rows), width, hidden), zeros after each example's end, cut at `width`. Only where `stores_hidden`."""
        stored = self._hidden[layer]
        result = np.zeros((len(rows), width, stored.shape[1]), dtype=np.float16)
        for i, row in enumerate(rows):
            states = stored[self._starts[row] : self._starts[row + 1]][:width]
            result[i, : len(states)] = states
        return torch.from_numpy(result)

    def _stored_layers(self) -> tuple[int, ...]:
        return self._layers if self.stores_hidden else ()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    def _missing(self) -> list[int]:
        return [layer for layer in self._layers if not self._path(f"hidden-{layer}").exists()]

    def _missing_bytes(self) -> int:
        return len(self._missing()) * int(self._starts[-1]) * hidden_size(self._context.teacher) * 2

    def _compute_missing(self) -> None:
        missing = self._missing() if self.stores_hidden else []
        if not missing and self._path("logits").exists():
            return
        context, width = self._context, hidden_size(self._context.teacher)
        teacher = context.teacher.to(context.device).eval()  # type: ignore[arg-type]
        temporary = {layer: self._folder / f"hidden-{layer}.{os.getpid()}.tmp" for layer in missing}
        hidden = {
            layer: np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(int(self._starts[-1]), width))
            for layer, path in temporary.items()
        }
        logits: dict[int, np.ndarray] = {}
        order = np.argsort(self._lengths, kind="stable")
        for start in tqdm(range(0, len(order), BATCH), desc="teacher's outputs", unit="batch", leave=False):
            rows = [int(row) for row in order[start : start + BATCH]]
            batch = context.teacher_collate([context.teacher_train[row] for row in rows])
            outputs = forward(teacher, context, batch)
            values = context.task.logits(outputs).float().cpu().numpy()
            for i, row in enumerate(rows):
                logits[row] = values[i]
            for layer, stored in hidden.items():
                states = outputs.hidden_states[layer].half().cpu().numpy()
                for i, row in enumerate(rows):
                    stored[self._starts[row] : self._starts[row + 1]] = states[i, : self._lengths[row]]
        self._publish(hidden, temporary, logits)
        teacher.to("cpu")

    def _publish(self, hidden: dict[int, Any], temporary: dict[int, Path], logits: dict[int, np.ndarray]) -> None:
        for layer, stored in hidden.items():
            stored.flush()
            temporary[layer].rename(self._path(f"hidden-{layer}"))
        path = self._folder / f"logits.{os.getpid()}.tmp"
        with path.open("wb") as file:
            np.save(file, np.stack([logits[row] for row in range(len(logits))]))
        path.rename(self._path("logits"))


@torch.no_grad()
def forward(model: Any, context: Context, batch: dict[str, Any]) -> Any:
    """The model's outputs for a batch, hidden states included, on the model's device."""
    inputs = {name: batch[name].to(model.device) for name in context.task.inputs}
    return model(**inputs, output_hidden_states=True)
