"""A form's outputs against the judged ones, each computed in a process of its own that opens a folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.core.evaluation import Proof
from compress.core.export_form import ExportForm
from compress.core.runtime import Runtime
from compress.core.signature import Signature
from compress.deploy.forms.examples import Batches
from compress.measure.accuracy import logits_of
from compress.measure.processes import Opener
from compress.measure.prove import compare
from compress.measure.worker import save_batches


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a worker opens: a folder, with a runtime or as a form. signature: of what is in it."""

    runtime: Opener
    folder: Path
    signature: Signature


def prove_form(
    form: ExportForm,
    folder: Path,
    *,
    runtime: Runtime,
    export: Path,
    signature: Signature,
    batches: Batches,
    rounded: bool,
    vectors: bool,
) -> Proof:
    """form, folder: what was written. runtime, export: what was judged. rounded, vectors: as in `compare`.

    Raises StageError where the form answers otherwise, and InputError where it cannot be opened.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "batches.npz"
        save_batches(batches, path)
        judged = _rows(Opened(runtime=runtime, folder=export, signature=signature), batches, path)
        found = _rows(Opened(runtime=form, folder=folder, signature=signature), batches, path)
    shapes = tuple(tuple(int(size) for size in next(iter(batch.values())).shape) for batch in batches)
    return compare(judged, found, rounded=rounded, shapes=shapes, vectors=vectors, whose="the judged ones")


def _rows(opened: Opened, batches: Batches, path: Path) -> list[np.ndarray]:
    """The output of each row, without padding. path: where the batches lie for the other process."""
    outputs = logits_of(opened, path)
    return [row for output, batch in zip(outputs, batches, strict=True) for row in opened.signature.rows(output, batch)]
