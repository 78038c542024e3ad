"""Real examples that a form is compared on: of the user's own, or those that the run's proof was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.core.manifest import find_damage
from compress.core.run_files import SUMMARY
from compress.core.signature import Signature
from compress.core.task import Task
from compress.deploy.forms.judged import JudgedExport
from compress.measure.prove import PROBE
from compress.measure.worker import load_batches
from compress.tasks.text import refused_as

Batches = Sequence[Mapping[str, np.ndarray]]
# Of the user's own, at most; the first few alone, then all of them in batches, with padding.
MOST, ALONE, TOGETHER = 200, 16, 8


def read_batches(judged: JudgedExport, task: Task, signature: Signature, data: Path | None) -> Batches:
    """data: what the user gave, None where the run's own are to be found. Raises InputError where there are none."""
    return _of_run(judged, signature) if data is None else _given(judged, task, signature, data)


def _given(judged: JudgedExport, task: Task, signature: Signature, data: Path) -> Batches:
    from compress.data.formats import read_file
    from compress.data.image_bytes import with_image_bytes
    from compress.data.images import read_classes
    from compress.nn.checkpoint import read_config
    from compress.nn.forward import numpy_batch

    images = data.is_dir()
    raw = read_classes("--examples", str(data)) if images else read_file("--examples", str(data), plain_text=True)
    raw = with_image_bytes(raw).select(range(min(MOST, len(raw))))
    raw = raw.remove_columns([name for name in raw.column_names if name == "group"])
    processor = task.load_processor(judged.folder)
    rows = list(task.encode_unlabelled(raw, processor, read_config(judged.folder)))
    parts = [[row] for row in rows[:ALONE]] + [
        rows[start : start + TOGETHER] for start in range(0, len(rows), TOGETHER)
    ]
    return [numpy_batch(signature, task.collate(part, processor)) for part in parts]


def _of_run(judged: JudgedExport, signature: Signature) -> Batches:
    """Those of the artifact's proof, of several lengths, alone and together, in the run's store."""
    way_out = "Give some: --examples FILE, with the columns that the run read (or a text a line, as .txt)"
    if judged.run is None or not (judged.run / SUMMARY).is_file():
        raise InputError(f"{judged.folder} has no examples beside it to compare outputs on. {way_out}.")
    settings = read_json(judged.run / SUMMARY, finite=False).get("settings")
    store = settings.get("store") if isinstance(settings, Mapping) else None
    artifact = Path(str(store)) / "artifacts" / judged.key
    if not _is_whole(artifact, judged.key):
        raise InputError(f"{judged.run} was proven on examples in its store, and {artifact} has none now. {way_out}.")
    path = artifact / PROBE
    # An archive from elsewhere can fail anywhere in the libraries.
    with refused_as(f"{path}, on which {judged.run} was proven, cannot be read", f"{way_out}."):
        batches = [dict(batch) for batch in load_batches(path)]
        for batch in batches:
            _require_fitting(batch, signature)
    return batches


def _is_whole(artifact: Path, key: str) -> bool:
    try:
        return (artifact / PROBE).is_file() and find_damage(artifact, key=key) is None
    except OSError:
        # A summary from elsewhere may name a place that no disk has.
        return False


def _require_fitting(batch: Mapping[str, np.ndarray], signature: Signature) -> None:
    """Raise ValueError unless a batch has the inputs of `signature`, with as many axes, of its types, and all rows."""
    if not set(signature.names) <= set(batch) <= {*signature.names, signature.asked}:
        raise ValueError(f"a batch has {', '.join(map(ascii, sorted(batch)))}")
    for port in signature.inputs:
        values = batch[port.name]
        if values.ndim != len(port.axes) or values.dtype.kind != np.dtype(port.dtype).kind:
            raise ValueError(f"{port.name} is of the shape {values.shape} and the type {values.dtype}")
    if len({len(values) for values in batch.values()}) > 1 or not values.size:
        raise ValueError("a batch has no rows, or its inputs have different numbers of them")


def largest_of(batches: Batches) -> Mapping[str, np.ndarray]:
    """The largest batch of at least two rows, for a tracer to see."""
    together = [batch for batch in batches if len(next(iter(batch.values()))) > 1]
    if not together:
        raise InputError("--examples holds a single example; give at least two.")
    return max(together, key=lambda batch: next(iter(batch.values())).size)
