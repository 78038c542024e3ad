"""Content keys: what a finished piece of work depends on, and nothing else.

An artifact's key changes with the settings that its stage reads, the parent artifact, the teacher, the content of the
training split and of the unlabelled examples, the seed, the device, the task's settings, the source of the stage's
module and of the packages it is built on, and the versions of the libraries that compute. It does not change with
paths, names of stages, the order of other stages, the gate, the validation or test split, or the machine. One
exception: a stage that reads the latency table makes something else on another machine, for another runtime, other
lengths of validation examples, or another precision at the end. The README says it for users, and tests/test_keys.py
tests it one by one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from compress.core.content import hashes_of, sha256_of
from compress.core.recipe import Recipe
from compress.measure.environment import describe_machine, versions
from compress.pipeline.store import content_key
from compress.report.drawing import Drawing

COMPUTING = ("torch", "transformers", "accelerate", "numpy", "safetensors", "tokenizers")
EXPORTING = ("torch", "transformers", "onnx", "onnxscript")
TIMED_SOURCES = (
    *("core.latency_table", "measure.latency_table", "measure.latency", "runtimes.onnx.export"),
    *("nn.layers.attention", "nn.layers.fused_layer", "nn.layers.fused_embeddings", "nn.layers.int8_linear"),
    *("nn.layers.int8_embedding", "nn.layers.low_rank_linear"),
)
DRAWING_SOURCES = ("drawing", "frontier", "gains", "labels", "plots", "svg", "wording")
SHARED_SOURCES = ("nn", "methods/training", "methods/importance", "tasks")


def teacher_key(recipe: Recipe, identity: Mapping[str, Any], train_fingerprint: str) -> str:
    """The key of the teacher's artifact. identity: what the teacher says of itself."""
    trained = {"train": train_fingerprint, "seed": recipe.seed, "device": recipe.device}
    return content_key(
        what="teacher",
        identity=identity,
        trained=trained if recipe.teacher.learns else None,
        task=_plain(recipe.settings["task"]),
        sources=_sources(type(recipe.teacher), type(recipe.task)),
        versions=versions(COMPUTING),
    )


def artifact_key(
    recipe: Recipe,
    stage: str,
    parent: str,
    teacher: str,
    train_fingerprint: str,
    unlabelled_fingerprint: str,
    latency: str = "",
) -> str:
    """The key of what `stage` makes of the artifact `parent`. unlabelled_fingerprint: "" where there is none. latency:
    what the latency table depends on, for a stage that reads it."""
    return content_key(
        what="stage",
        settings=_plain(_read_settings(recipe, stage)),
        parent=parent,
        teacher=teacher,
        train=train_fingerprint,
        unlabelled=unlabelled_fingerprint,
        latency=latency,
        task=_plain(recipe.settings["task"]),
        seed=recipe.seed,
        device=recipe.device,
        sources=_sources(*_kinds_in(recipe.stages[stage]), type(recipe.task)),
        versions=versions(COMPUTING),
    )


def latency_table_key(recipe: Recipe, teacher: str, lengths: Sequence[int], sizes: Mapping[str, int]) -> str:
    """The key of a latency table: machine, runtime, teacher, the data's lengths, the shape of a layer."""
    return content_key(
        what="latency-table",
        machine=describe_machine(recipe.runtime),
        teacher=teacher,
        lengths=sorted(lengths),
        sizes=dict(sizes),
        precision=precision_of(recipe),
        sources=[
            _source_of(type(recipe.runtime).__module__),
            *(_source_of(f"compress.{name}") for name in TIMED_SOURCES),
        ],
    )


def precision_of(recipe: Recipe) -> str:
    """What the recipe ends with: `float`, or the scheme of its int8 stage."""
    words = frozenset().union(*(recipe.stages[name].leaves for name in recipe.order))
    return "static" if "int8_static" in words else "dynamic" if "int8" in words else "float"


def export_key(recipe: Recipe, artifact: str) -> str:
    """The key of an artifact's export for the recipe's runtime."""
    return content_key(
        what="export",
        artifact=artifact,
        runtime=recipe.runtime.label,
        threads=recipe.runtime.threads,
        sources=[
            _source_of(type(recipe.runtime).__module__),
            *(_source_of(f"compress.{name}") for name in ("runtimes.onnx.export", "measure.prove")),
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
            # What is measured is the export, and its proof is told beside it.
            _source_of("compress.runtimes.onnx.export"),
            *(
                _source_of(f"compress.measure.{name}")
                for name in ("evaluate", "latency", "accuracy", "worker", "prove")
            ),
        ],
    )


def blame_key(recipe: Recipe, entries: Sequence[str], split_fingerprint: str, case: Mapping[str, Any]) -> str:
    """The key of what was found out about a stage that missed its limits. entries: of the teacher, and of the models
    before and after it. case: what else it depends on."""
    return content_key(
        what="blame",
        entries=list(entries),
        split=split_fingerprint,
        case=case,
        seed=recipe.seed,
        task=_plain(recipe.settings["task"]),
        sources=[
            _source_of(type(recipe.stages[case["name"]]).__module__),
            *(_source_of(f"compress.pipeline.blame.{name}") for name in ("case", "restore", "advise")),
            _shared_sources(),
        ],
    )


def plots_key(drawing: Drawing) -> str:
    """The key of a report's plots: what they show, and how they are drawn."""
    return content_key(
        what="plots",
        drawing=dataclasses.asdict(drawing),
        # Not imported: what is found drawn needs no matplotlib.
        sources=[sha256_of(Path(__file__).parents[1] / "report" / f"{name}.py") for name in DRAWING_SOURCES],
        versions=versions(("matplotlib",)),
    )


def _read_settings(recipe: Recipe, stage: str) -> Mapping[str, Any]:
    unread = recipe.stages[stage].unread
    return {name: value for name, value in recipe.settings["stages"][stage].items() if name not in unread}


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


def _kinds_in(built: Any) -> list[type]:
    """The class of a stage and of every part it was built of, such as a criterion of the user's own."""
    parts = (
        [getattr(built, field.name) for field in dataclasses.fields(built)] if dataclasses.is_dataclass(built) else []
    )
    return [type(built), *(kind for part in parts if dataclasses.is_dataclass(part) for kind in _kinds_in(part))]


def _sources(*kinds: type) -> dict[str, Any]:
    modules = [inspect.getsourcefile(kind) for kind in kinds]
    return {"modules": [sha256_of(Path(str(module))) for module in modules], "shared": _shared_sources()}


def _source_of(module: str) -> str:
    return sha256_of(Path(str(importlib.import_module(module).__file__)))


@cache
def _shared_sources() -> str:
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for package in SHARED_SOURCES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
