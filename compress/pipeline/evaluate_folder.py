"""Measuring a folder that a run exported, on labelled examples of the user's own."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.evaluation import Evaluation
from compress.core.json_file import read_json
from compress.core.manifest import MANIFEST, find_damage
from compress.core.recipe import Measurement
from compress.core.runtime import Runtime
from compress.core.task import Task
from compress.data.assemble import with_class_names
from compress.data.formats import read_file
from compress.data.image_bytes import with_image_bytes
from compress.data.images import read_classes
from compress.measure.accuracy import write_batches
from compress.measure.environment import allowed_cpus
from compress.measure.evaluate import candidate_of, score, size_of, time_candidate, timed
from compress.nn.checkpoint import read_config
from compress.runtimes.onnxruntime.runtime import OnnxRuntime

MEASUREMENT = Measurement(examples=24, launches=2, rounds=4, warmup=3)


def evaluate_folder(folder: Path, data: Path, *, threads: int | None, columns: Mapping[str, str]) -> Evaluation:
    """Scores and latency of an export on the examples of a file, on the runtime that it was made for. See
    `compress.evaluate`."""
    facts = _facts_of(folder)
    task, runtime = _task_of(folder, facts, columns), _runtime_of(folder, facts, threads or len(allowed_cpus()))
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


def _task_of(folder: Path, facts: Mapping[str, Any], columns: Mapping[str, str]) -> Task:
    """The task as the manifest describes it, with columns renamed."""
    kind = _class_of(folder, facts["task"], "tasks")
    needed = [field.name for field in dataclasses.fields(kind)]
    missing = [name for name in needed if name not in facts["task"]]
    if missing:
        raise InputError(f"{folder} does not say {missing[0]} of its task: another release made it. Export it again.")
    settings = {name: facts["task"][name] for name in needed}
    # The other settings are numbers and the like.
    known = [name for name, value in settings.items() if value is None or isinstance(value, str | list)]
    unknown = sorted(columns.keys() - set(known))
    if unknown:
        raise InputError(f"{unknown[0]} is no column of this task; it has {' and '.join(known)}.")
    return kind(**{**settings, **columns})


def _runtime_of(folder: Path, facts: Mapping[str, Any], threads: int) -> Runtime:
    """The runtime that the manifest names, with so many threads. Manifests of before it did were ONNX Runtime's."""
    if "runtime" not in facts:
        return OnnxRuntime(threads=threads)
    settings = {name: value for name, value in facts["runtime"].items() if name != "_target_"}
    return _class_of(folder, facts["runtime"], "runtimes")(**{**settings, "threads": threads})


def _class_of(folder: Path, described: Mapping[str, Any], room: str) -> Any:
    """A class of ours, by its dotted path. Raises InputError for every other: nothing that a file names is called."""
    module, _, name = described["_target_"].rpartition(".")
    if module.startswith(f"compress.{room}.") and find_spec(module) is not None:
        found = getattr(import_module(module), name, None)
        if dataclasses.is_dataclass(found) and found.__module__ == module:
            return found
    raise InputError(
        f"{folder} was made with {described['_target_']}, which is none of compress.{room}. Its manifest is not called "
        "upon for code: measure it with the package that it came from."
    )
