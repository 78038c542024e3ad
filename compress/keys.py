"""Content keys: what a finished piece of work depends on, and nothing else.

An artifact's key changes with the stage's resolved settings, the parent artifact, the teacher, the content of the
training split, the seed, the device, the task's settings, the source of the stage's module and of the packages it is
built on, and the versions of the libraries that compute. It does not change with paths, names of stages, the order of
other stages, the gate, the validation or test split, or the machine.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from compress.core.words import Recipe
from compress.measure.environment import describe_machine, versions
from compress.store import content_key
from compress.teachers.content import hashes_of, sha256_of

COMPUTING = ("torch", "transformers", "accelerate", "numpy", "safetensors", "tokenizers")
EXPORTING = ("torch", "transformers", "onnx", "onnxscript")
SHARED_SOURCES = ("ops", "layers", "models", "training", "tasks")


def teacher_key(recipe: Recipe, train_fingerprint: str) -> str:
    """The key of the teacher's artifact."""
    trained = {"train": train_fingerprint, "seed": recipe.seed, "device": recipe.device}
    return content_key(
        what="teacher",
        identity=recipe.teacher.identity(),
        trained=trained if recipe.teacher.learns else None,
        task=_plain(recipe.settings["task"]),
        sources=_sources(type(recipe.teacher), type(recipe.task)),
        versions=versions(COMPUTING),
    )


def artifact_key(recipe: Recipe, stage: str, parent: str, teacher: str, train_fingerprint: str) -> str:
    """The key of what `stage` makes of the artifact `parent`."""
    return content_key(
        what="stage",
        settings=_plain(recipe.settings["stages"][stage]),
        parent=parent,
        teacher=teacher,
        train=train_fingerprint,
        task=_plain(recipe.settings["task"]),
        seed=recipe.seed,
        device=recipe.device,
        sources=_sources(type(recipe.stages[stage]), type(recipe.task)),
        versions=versions(COMPUTING),
    )


def export_key(recipe: Recipe, artifact: str) -> str:
    """The key of an artifact's export for the recipe's runtime."""
    return content_key(
        what="export",
        artifact=artifact,
        runtime=recipe.runtime.label,
        threads=recipe.runtime.threads,
        sources=[
            _source_of(type(recipe.runtime).__module__),
            *(_source_of(f"compress.{name}") for name in ("export.onnx", "measure.prove")),
        ],
        versions=versions((*EXPORTING, *recipe.runtime.libraries)),
    )


def evaluation_key(recipe: Recipe, artifact: str, baseline: str, split_fingerprint: str, *, timed: bool) -> str:
    """The key of an evaluation. Latency belongs to a machine and to how it was sampled; scores only to the runtime."""
    machine = describe_machine(recipe.runtime)
    return content_key(
        what="evaluation",
        artifact=artifact,
        baseline=baseline,
        split=split_fingerprint,
        runtime=recipe.runtime.label,
        task=_plain(recipe.settings["task"]),
        machine=machine if timed else machine["versions"],
        measurement=_plain(recipe.settings["measurement"]) if timed else None,
        sources=[
            _source_of(type(recipe.task).__module__),
            _source_of(type(recipe.runtime).__module__),
            *(_source_of(f"compress.measure.{name}") for name in ("evaluate", "latency", "accuracy", "worker")),
        ],
    )


def _plain(settings: Any) -> Any:
    """Settings with every `*_path` replaced by the content it names: a moved file is the same file."""
    if isinstance(settings, Mapping):
        return {
            str(name): _content(Path(value)) if str(name).endswith("_path") and value else _plain(value)
            for name, value in settings.items()
        }
    if isinstance(settings, list | tuple):
        return [_plain(value) for value in settings]
    return settings


def _content(path: Path) -> Any:
    return hashes_of(path) if path.is_dir() else sha256_of(path)


def _sources(*kinds: type) -> dict[str, Any]:
    modules = [inspect.getsourcefile(kind) for kind in kinds]
    return {"modules": [sha256_of(Path(str(module))) for module in modules], "shared": _shared_sources()}


def _source_of(module: str) -> str:
    return sha256_of(Path(str(importlib.import_module(module).__file__)))


@cache
def _shared_sources() -> str:
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for package in SHARED_SOURCES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
