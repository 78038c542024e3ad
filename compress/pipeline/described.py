"""The task and the runtime that an exported folder's manifest describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.json_file import require_types
from compress.core.manifest import MANIFEST
from compress.core.runtime import Runtime
from compress.core.task import Task
from compress.runtimes.onnxruntime.runtime import OnnxRuntime


def task_of(folder: Path, facts: Mapping[str, Any], columns: Mapping[str, str]) -> Task:
    """The task as the manifest describes it, with columns renamed."""
    described = facts["task"]
    kind = _class_of(folder, described, "tasks")
    needed = [field.name for field in dataclasses.fields(kind)]
    missing = [name for name in needed if name not in described]
    if missing:
        raise InputError(f"{folder} does not say {missing[0]} of its task: another release made it. Export it again.")
    settings = {name: described[name] for name in needed}
    # The other settings are numbers and the like.
    known = [name for name, value in settings.items() if value is None or isinstance(value, str | list)]
    unknown = sorted(columns.keys() - set(known))
    if unknown:
        raise InputError(f"{unknown[0]} is no column of this task; it has {' and '.join(known)}.")
    return _built(folder, kind, {**settings, **columns})


def runtime_of(folder: Path, facts: Mapping[str, Any], threads: int) -> Runtime:
    """The runtime that the manifest names, with so many threads. Manifests of before it did were ONNX Runtime's."""
    if "runtime" not in facts:
        return OnnxRuntime(threads=threads)
    kind = _class_of(folder, facts["runtime"], "runtimes")
    settings = {name: value for name, value in facts["runtime"].items() if name != "_target_"}
    return _built(folder, kind, {**settings, "threads": threads})


def _built(folder: Path, kind: Any, settings: Mapping[str, Any]) -> Any:
    """Raises InputError where a manifest has given `kind` a setting that it does not have, or one of another type."""
    known = {field.name for field in dataclasses.fields(kind)}
    try:
        if settings.keys() - known:
            raise ValueError(f"{min(settings.keys() - known)[:60]!r} is no setting of a {kind.__name__}")
        require_types(kind, settings)
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder}: {MANIFEST} is malformed ({error}). Export the model again.") from error


def _class_of(folder: Path, described: Any, room: str) -> Any:
    """A class of ours, by its dotted path. Raises InputError for every other: nothing that a file names is called."""
    target = described.get("_target_") if isinstance(described, Mapping) else None
    module, _, name = str(target).rpartition(".")
    if module.startswith(f"compress.{room}.") and _is_module(module):
        found = getattr(import_module(module), name, None)
        if dataclasses.is_dataclass(found) and found.__module__ == module:
            return found
    raise InputError(
        f"{folder} was made with {str(target)[:100]!r}, which is none of compress.{room}. Its manifest is not called "
        "upon for code: measure it with the package that it came from."
    )


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        # What stands before the last dot is no package, or no name.
        return False
