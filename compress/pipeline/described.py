"""The task and the runtime that an exported folder's manifest describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.runtime import Runtime
from compress.core.task import Task
from compress.runtimes.onnxruntime.runtime import OnnxRuntime


def task_of(folder: Path, facts: Mapping[str, Any], columns: Mapping[str, str]) -> Task:
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


def runtime_of(folder: Path, facts: Mapping[str, Any], threads: int) -> Runtime:
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
