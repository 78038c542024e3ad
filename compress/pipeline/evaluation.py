"""Measuring a folder that a run exported, on labelled examples of the user's own."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from compress.core.errors import InputError
from compress.core.evaluation import Evaluation
from compress.core.recipe import Measurement
from compress.data.assemble import with_class_names
from compress.data.formats import read_file
from compress.measure.accuracy import write_batches
from compress.measure.environment import allowed_cpus
from compress.measure.evaluate import candidate_of, score, size_of, time_candidate
from compress.nn.checkpoint import read_config
from compress.pipeline.store import MANIFEST, find_damage
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_classification import TextClassification

MEASUREMENT = Measurement(examples=24, launches=2, rounds=4, warmup=3)


def evaluate_folder(folder: Path, data: Path, *, threads: int | None, columns: Mapping[str, str]) -> Evaluation:
    """Scores and latency of `folder/model.onnx` on the examples of a file. See `compress.evaluate`."""
    task = _task_of(folder, columns)
    runtime = OnnxRuntime(threads=threads or len(allowed_cpus()))
    config, processor = read_config(folder), task.load_processor(folder)
    raw = with_class_names(read_file("data", str(data)))
    # Which examples belong together nobody said, whatever a column is called.
    raw = raw.remove_columns([name for name in raw.column_names if name == "group"])
    examples = task.encode(raw, processor, config, "data")
    key = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["key"]
    candidate = candidate_of(runtime, folder, folder)
    with tempfile.TemporaryDirectory() as temporary:
        batches = Path(temporary) / "batches.npz"
        write_batches(examples, task, processor, batches)
        scored = score(candidate, key, examples, batches, task, split=data.name)
        latency = time_candidate(candidate, None, examples["length"], [batches], MEASUREMENT)
    return dataclasses.replace(scored, latency=latency, size=size_of(folder, folder))


def _task_of(folder: Path, columns: Mapping[str, str]) -> TextClassification:
    """The task as the manifest describes it, with columns renamed. Nothing that the file names is called."""
    problem = find_damage(folder)
    if problem is not None:
        raise InputError(f"{folder} is no whole export: {problem}. Export the model again.")
    facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["facts"]
    unknown = sorted(columns.keys() - {"text", "label"})
    if unknown:
        raise InputError(f"{unknown[0]} is no column of this task; it has text and label.")
    settings = {name: facts["task"][name] for name in ("text", "label", "max_length")}
    return TextClassification(**{**settings, **columns})
