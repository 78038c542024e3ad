"""Measuring a folder that a run exported, on labelled examples of the user's own."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.evaluation import Evaluation
from compress.core.json_file import read_json
from compress.core.manifest import MANIFEST, find_damage
from compress.core.recipe import Measurement
from compress.data.assemble import with_class_names
from compress.data.formats import read_file
from compress.data.image_bytes import with_image_bytes
from compress.data.images import read_classes
from compress.measure.accuracy import write_batches
from compress.measure.environment import allowed_cpus
from compress.measure.evaluate import candidate_of, score, size_of, time_candidate, timed
from compress.nn.checkpoint import read_config
from compress.pipeline.described import runtime_of, task_of

MEASUREMENT = Measurement(examples=24, launches=2, rounds=4, warmup=3)


def evaluate_folder(folder: Path, data: Path, *, threads: int | None, columns: Mapping[str, str]) -> Evaluation:
    """Scores and latency of an export on the examples of a file, on the runtime that it was made for. See
    `compress.evaluate`."""
    facts = _facts_of(folder)
    task, runtime = task_of(folder, facts, columns), runtime_of(folder, facts, threads or len(allowed_cpus()))
    if task.asks_teacher:
        raise InputError(
            f"{folder} was judged by the teacher's answers, which are not there any more, and {data} has none. Where "
            "your file has labels, name their column; else measure again with a run."
        )
    config, processor = read_config(folder), task.load_processor(folder)
    signature = task.signature(config)
    read = read_classes if data.expanduser().is_dir() else read_file
    raw = with_image_bytes(with_class_names(read("data", str(data))))
    # Which examples belong together nobody said, whatever a column is called.
    raw = raw.remove_columns([name for name in raw.column_names if name == "group"])
    examples = task.encode(raw, processor, config, "data")
    key = read_json(folder / MANIFEST)["key"]
    candidate = candidate_of(runtime, folder, folder, signature)
    with tempfile.TemporaryDirectory() as temporary:
        batches = Path(temporary) / "batches.npz"
        write_batches(examples, task, processor, signature, batches)
        scored = score(candidate, key, examples, batches, task, config, split=data.name)
        lengths = timed(examples["length"][:], task.units(examples))
        latency = time_candidate(candidate, None, lengths, [batches], MEASUREMENT)
    return dataclasses.replace(scored, latency=latency, size=size_of(folder, folder, runtime))


def _facts_of(folder: Path) -> Mapping[str, Any]:
    """What the manifest says. Raises InputError where the folder is no whole export."""
    problem = find_damage(folder)
    if problem is not None:
        raise InputError(f"{folder} is no whole export: {problem}. Export the model again.")
    return read_json(folder / MANIFEST)["facts"]
