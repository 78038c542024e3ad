"""What the teacher says about every example to imitate: computed once for each data set, then read from the disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm.auto import tqdm

from compress.core.context import Context
from compress.core.errors import DiskFullError
from compress.core.manifest import xxh3_of
from compress.core.signature import Signature
from compress.core.spent import spending
from compress.methods.training.attention import RELATED, attention_vectors, widths
from compress.methods.training.processes import main_first
from compress.methods.training.transfer import as_teacher_reads, transfer_fingerprint, transfer_set
from compress.nn.family import hidden_size, layers_of
from compress.nn.forward import Answer, forward, numpy_batch, positions_of

LARGEST_SHARE_OF_FREE_DISK = 0.5
BATCH = 64


class TeacherOutputs:
    """The teacher's outputs (float32) and, per position, vectors (float16) of all examples of the transfer set, as
    memory maps. The teacher reads them with its own processor, whatever the student's is.

    Outputs are one line for each example, or one for each of its positions where the signature says so. Where they are
    too large to be kept (`Signature.asked`), `stores_outputs` is False and nothing is there: whoever wants any of it
    runs the teacher. spliced: how
    many made-up examples the transfer set ends with. The vectors are the hidden states of `layers` (numbers from 1; 0
    is the embeddings), and the queries, keys and values of the layer `relation_layer` (from 1) where it is given. Where
    they would take more than half of the free disk, `stores_vectors` is False and only the outputs are there: whoever
    wants vectors runs the teacher.
    """

    def __init__(
        self, context: Context, layers: Sequence[int], relation_layer: int | None = None, *, spliced: int = 0
    ) -> None:
        self._context, self._relation_layer = context, relation_layer
        self._widths = {f"hidden-{layer}": hidden_size(context.teacher) for layer in layers}
        if relation_layer is not None:
            found = widths(layers_of(context.teacher)[relation_layer - 1])
            self._widths |= {f"{part}-{relation_layer}": found[part] for part in RELATED}
        self._reading = as_teacher_reads(context)
        self._examples = transfer_set(self._reading, spliced)
        self._signature = context.task.signature(context.teacher.config)
        self.stores_outputs, self.stores_vectors = self._signature.asked is None, False
        if not self.stores_outputs:
            return
        self._lengths = self._positions()
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])
        key = json.dumps([context.teacher_key, *transfer_fingerprint(self._reading, spliced)])
        self._folder = context.cache_folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        self._folder.mkdir(parents=True, exist_ok=True)
        with spending("teacher's outputs"), main_first(), self._alone():
            self._look()
        self._outputs = np.load(self._path("logits"), mmap_mode="r")
        names = self._widths if self.stores_vectors else ()
        self._vectors = {name: np.load(self._path(name), mmap_mode="r") for name in names}

    def output(self, rows: Sequence[int], width: int) -> Tensor:
        """What the signature calls so, (len(rows), ...). Where it is per position, (len(rows), width, ...), zeros after
        each example's end, cut at `width`."""
        if self._signature.per_position:
            return self._padded(self._outputs, rows, width)
        return torch.from_numpy(np.stack([self._outputs[row] for row in rows]))

    def hidden(self, layer: int, rows: Sequence[int], width: int) -> Tensor:
        """(len(rows), width, hidden), zeros after each example's end, cut at `width`. Only where `stores_vectors`."""
        return self._padded(self._vectors[f"hidden-{layer}"], rows, width)

    def relations(self, rows: Sequence[int], width: int) -> dict[str, Tensor]:
        """The queries, keys and values of `relation_layer`, all heads side by side, each as `hidden` gives it."""
        return {part: self._padded(self._vectors[f"{part}-{self._relation_layer}"], rows, width) for part in RELATED}

    def batch(self, rows: Sequence[int]) -> dict[str, Any]:
        """What the teacher is shown of these rows."""
        return self._reading.collate([self._examples[row] for row in rows])

    def _positions(self) -> np.ndarray:
        """How many positions of each example are real, (examples,)."""
        if self._signature.mask is not None:
            return np.asarray(self._examples["length"], dtype=np.int64)
        # Without padding all have as many.
        one = positions_of(self._context.teacher, self._signature, self.batch([0])) if self._widths else 1
        return np.full(len(self._examples), one, dtype=np.int64)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Of two processes that want the same outputs, one computes them and the other waits."""
        lock = FileLock(self._folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tqdm.write("another run is computing the teacher's outputs; this one waits for them", file=sys.stderr)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _look(self) -> None:
        self._forget_damaged()
        needed = sum(int(self._starts[-1]) * self._widths[name] * 2 for name in self._missing())
        free = shutil.disk_usage(self._folder).free
        self.stores_vectors = needed <= free * LARGEST_SHARE_OF_FREE_DISK
        if not self.stores_vectors:
            self._context.note(
                f"the teacher's inner states would take {needed / 1e9:.1f} GB of {free / 1e9:.1f} GB free, so the "
                "teacher runs again for every batch"
            )
        self._compute_missing()

    def _padded(self, stored: np.ndarray, rows: Sequence[int], width: int) -> Tensor:
        result = np.zeros((len(rows), width, *stored.shape[1:]), dtype=stored.dtype)
        for i, row in enumerate(rows):
            vectors = stored[self._starts[row] : self._starts[row + 1]][:width]
            result[i, : len(vectors)] = vectors
        return torch.from_numpy(result)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    def _sum(self, name: str) -> Path:
        return self._folder / f"{name}.xxh3"

    def _forget_damaged(self) -> None:
        """Remove what is not what was computed: it is computed again. Every byte is read."""
        for name in ("logits", *self._widths):
            path, told = self._path(name), self._sum(name)
            if path.exists() and (
                not told.exists() or told.read_text(encoding="ascii", errors="replace") != xxh3_of(path)
            ):
                tqdm.write(f"warning: {path} is damaged; the teacher's outputs are computed again", file=sys.stderr)
                path.unlink()

    def _finish(self, name: str, temporary: Path) -> None:
        """Give a file that is whole its name, and its checksum before that."""
        self._sum(name).write_text(xxh3_of(temporary), encoding="ascii")
        temporary.rename(self._path(name))

    def _missing(self) -> list[str]:
        return [name for name in self._widths if not self._path(name).exists()]

    def _compute_missing(self) -> None:
        missing = self._missing() if self.stores_vectors else []
        if not missing and self._path("logits").exists():
            return
        teacher = self._context.teacher.to(self._context.device).eval()  # type: ignore[arg-type]
        temporary = {name: self._folder / f"{name}.tmp" for name in missing}
        stored = self._reserved(temporary)
        outputs: dict[int, np.ndarray] = {}
        order = np.argsort(self._lengths, kind="stable")
        for start in tqdm(range(0, len(order), BATCH), desc="teacher's outputs", unit="batch", leave=False):
            rows = [int(row) for row in order[start : start + BATCH]]
            found, vectors = self._answer(teacher, rows)
            outputs.update(zip(rows, found, strict=True))
            for name, target in stored.items():
                values = vectors[name].half().cpu().numpy()
                for i, row in enumerate(rows):
                    target[self._starts[row] : self._starts[row + 1]] = values[i, : self._lengths[row]]
        self._publish(stored, temporary, outputs)
        teacher.to("cpu")

    def _reserved(self, paths: Mapping[str, Path]) -> dict[str, np.memmap]:
        """New files for all positions. Raises DiskFullError where they do not fit: writing to a memory map on a full
        disk would end the process without a word."""
        shapes = {name: (int(self._starts[-1]), self._widths[name]) for name in paths}
        made = {
            name: np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shapes[name])
            for name, path in paths.items()
        }
        try:
            for path in paths.values() if hasattr(os, "posix_fallocate") else ():
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            for path in paths.values():
                path.unlink()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            needed, free = sum(values.nbytes for values in made.values()), shutil.disk_usage(self._folder).free
            what = "the teacher's inner state"
            raise DiskFullError.of("store", self._folder, what=what, needed_bytes=needed, free_bytes=free) from error
        return made

    def _answer(self, teacher: Any, rows: Sequence[int]) -> tuple[list[np.ndarray], dict[str, Tensor]]:
        batch = self.batch(rows)
        answer, related = answer_of(teacher, self._signature, batch, self._relation_layer)
        vectors = {f"{part}-{self._relation_layer}": value for part, value in related.items()}
        vectors |= {f"hidden-{layer}": state for layer, state in enumerate(answer.hidden_states)}
        return self._signature.rows(answer.output.float().cpu().numpy(), numpy_batch(self._signature, batch)), vectors

    def _publish(self, stored: dict[str, Any], temporary: dict[str, Path], outputs: dict[int, np.ndarray]) -> None:
        for name, values in stored.items():
            values.flush()
            self._finish(name, temporary[name])
        path = self._folder / "logits.tmp"
        with path.open("wb") as file:
            ordered = [outputs[row] for row in range(len(outputs))]
            np.save(file, np.concatenate(ordered) if self._signature.per_position else np.stack(ordered))
            file.flush()
            os.fsync(file.fileno())
        self._finish("logits", path)


@torch.no_grad()
def answer_of(
    model: Any, signature: Signature, batch: Mapping[str, Any], relation_layer: int | None = None
) -> tuple[Answer, dict[str, Tensor]]:
    """The model's answer to a batch, hidden states included, and the queries, keys and values of `relation_layer`
    (from 1; none where None), on the model's device."""
    with attention_vectors(model, relation_layer) as related:
        answer = forward(model, signature, batch, hidden_states=True)
    return answer, related
