"""Real examples that a form is compared on: of the user's own, or those that the run's proof was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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

Batches = Sequence[Mapping[str, np.ndarray]]
# Of the user's own, at most; the first few alone, then all of them in batches, with padding.
MOST, ALONE, TOGETHER = 200, 16, 8


def read_batches(judged: JudgedExport, task: Task, signature: Signature, data: Path | None) -> Batches:
    """data: what the user gave, None where the run's own are to be found. Raises InputError where there are none."""
    return _of_run(judged) if data is None else _given(judged, task, signature, data)


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


def _of_run(judged: JudgedExport) -> Batches:
    """Those of the artifact's proof, of several lengths, alone and together, in the run's store."""
    way_out = "Give some: --examples FILE, with the columns that the run read (or a text a line, as .txt)"
    if judged.run is None or not (judged.run / SUMMARY).is_file():
        raise InputError(f"{judged.folder} has no examples beside it to compare outputs on. {way_out}.")
    settings: Mapping[str, Any] = read_json(judged.run / SUMMARY, finite=False).get("settings", {})
    artifact = Path(str(settings.get("store"))) / "artifacts" / judged.key
    if not (artifact / PROBE).is_file() or find_damage(artifact, key=judged.key) is not None:
        raise InputError(f"{judged.run} was proven on examples in its store, and {artifact} has none now. {way_out}.")
    return load_batches(artifact / PROBE)


def largest_of(batches: Batches) -> Mapping[str, np.ndarray]:
    """The largest batch of at least two rows, for a tracer to see."""
    together = [batch for batch in batches if len(next(iter(batch.values()))) > 1]
    if not together:
        raise InputError("--examples holds a single example; give at least two.")
    return max(together, key=lambda batch: next(iter(batch.values())).size)
