"""Content keys: what a finished piece of work depends on, and nothing else.

An artifact's key changes with the settings that its stage reads, the parent artifact, the teacher, the content of the
training split and of the unlabelled examples, the seed, the device, the task's settings, the source that computes it,
and the versions of the libraries that compute. It does not change with paths, names of stages, the order of other
stages, the gate, the validation or test split, texts that judge without labels, or the machine. One exception: a stage
that reads the latency table makes something else on another machine, for another runtime, other lengths of validation
examples, or another precision at the end. docs/runs.md says it for users, and tests/pipeline/test_keys.py tests it one
by one.

The source that computes a piece of work: the modules of its classes (a stage's with the parts it is built of, such as a
criterion; the task's; the table of the model's family, which is found by its name; the runtime's) and all that these
import: see `sources.py`. So a method that is edited or added has new keys, and no other has. Of a class of the user's
own its file counts, and what that imports from here.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.core.content import hashes_of, sha256_of
from compress.core.recipe import PATIENCE, Recipe
from compress.measure.environment import describe_machine, versions
from compress.nn.checkpoint import read_config
from compress.nn.family import family_modules
from compress.pipeline.sources import sources_of
from compress.pipeline.store import content_key
from compress.report.drawing import Drawing

COMPUTING = ("torch", "transformers", "accelerate", "numpy", "safetensors", "tokenizers")
EXPORTING = ("torch", "transformers", "onnx", "onnxscript")
# What reads and writes every artifact, proves and measures every export, makes tables, explanations and plots.
KEPT_BY = "compress.nn.checkpoint"
BATCHED_BY = "compress.measure.accuracy"
PROVEN_BY = "compress.measure.prove"
MEASURED_BY = "compress.measure.evaluate"
TIMED_BY = "compress.measure.latency_table"
EXPLAINED_BY = "compress.pipeline.blame.case"
DRAWN_BY = "compress.report.drawing"
KEPT_VECTORS_BY = "compress.measure.vectors"


def teacher_key(recipe: Recipe, identity: Mapping[str, Any], model_type: str, train_fingerprint: str) -> str:
    """The key of the teacher's artifact. identity: what the teacher says of itself. model_type: its configuration's."""
    trained = {"train": train_fingerprint, "seed": recipe.seed, "device": recipe.device}
    return content_key(
        what="teacher",
        identity=identity,
        trained=trained if recipe.teacher.learns else None,
        task=_plain(_computing(recipe)),
        sources=_sources(type(recipe.teacher), type(recipe.task), modules=[KEPT_BY, *_families(model_type)]),
        versions=versions(COMPUTING),
    )


def teacher_answers_key(recipe: Recipe, identity: Mapping[str, Any], model_type: str, examples: str) -> str:
    """The key of what the teacher answers to a split. identity, model_type: as in `teacher_key`. examples: the split's
    content."""
    return content_key(
        what="teacher-answers",
        identity=identity,
        examples=examples,
        task=_plain(_computing(recipe)),
        sources=_sources(type(recipe.teacher), type(recipe.task), modules=[KEPT_BY, *_families(model_type)]),
        versions=versions(COMPUTING),
    )


def artifact_key(
    recipe: Recipe,
    stage: str,
    parent: str,
    teacher: str,
    model_type: str,
    train_fingerprint: str,
    unlabelled_fingerprint: str,
    latency: str = "",
) -> str:
    """The key of what `stage` makes of the artifact `parent`. model_type: of the teacher's configuration.
    unlabelled_fingerprint: "" where there is none. latency: what the latency table depends on, for a stage that reads
    it."""
    read = _read_settings(recipe, stage)
    families = _families(model_type, *_model_types_in(read))
    return content_key(
        what="stage",
        settings=_plain(read),
        parent=parent,
        teacher=teacher,
        train=train_fingerprint,
        unlabelled=unlabelled_fingerprint,
        latency=latency,
        task=_plain(_computing(recipe)),
        seed=recipe.seed,
        device=recipe.device,
        sources=_sources(*_kinds_in(recipe.stages[stage]), type(recipe.task), modules=[KEPT_BY, *families]),
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
        **_together(recipe),
        precision=precision_of(recipe),
        sources=_sources(type(recipe.runtime), modules=[TIMED_BY]),
    )


def precision_of(recipe: Recipe) -> str:
    """What the recipe ends with: `float`, `blocks`, `blocks4`, or the scheme of its int8 stage."""
    words = frozenset().union(*(recipe.stages[name].leaves for name in recipe.order))
    if "int8_blocks" in words:
        return "blocks4" if "int4_blocks" in words else "blocks"
    return "static" if "int8_static" in words else "dynamic" if "int8" in words else "float"


def export_key(recipe: Recipe, artifact: str) -> str:
    """The key of an artifact's export for the recipe's runtime."""
    return content_key(
        what="export",
        artifact=artifact,
        runtime=recipe.runtime.label,
        threads=recipe.runtime.threads,
        sources=_sources(type(recipe.runtime), modules=[PROVEN_BY]),
        versions=versions((*EXPORTING, *recipe.runtime.libraries)),
    )


def batches_key(recipe: Recipe, rows: str, processor: str, together: Sequence[Sequence[int]] = ()) -> str:
    """The key of what is measured on. rows: the split's fingerprint. processor: the artifact that brought it. together:
    which rows are a batch; none where each is one of its own."""
    return content_key(
        what="batches",
        **({"together": together} if together else {}),
        rows=rows,
        processor=processor,
        task=_plain(_computing(recipe)),
        sources=_sources(type(recipe.task), modules=[BATCHED_BY]),
        versions=versions(COMPUTING),
    )


def outputs_key(recipe: Recipe, artifact: str, splits: Sequence[str]) -> str:
    """The key of what an artifact answers on the runtime. splits: what those that it answers contain."""
    return content_key(
        what="outputs",
        artifact=artifact,
        splits=list(splits),
        runtime=recipe.runtime.label,
        task=_plain(_computing(recipe)),
        versions=describe_machine(recipe.runtime)["versions"],
        sources=_sources(type(recipe.task), type(recipe.runtime), modules=[BATCHED_BY, PROVEN_BY]),
    )


def vectors_key(recipe: Recipe, artifact: str, splits: Sequence[str]) -> str:
    """The key of an export that gives its vectors in further forms, and of what these are worth. splits: what those
    that they are fitted to and judged on contain."""
    return content_key(
        what="vectors",
        export=export_key(recipe, artifact),
        forms=list(recipe.vectors),
        splits=list(splits),
        seed=recipe.seed,
        task=_plain(recipe.settings["task"]),
        versions=describe_machine(recipe.runtime)["versions"],
        sources=_sources(type(recipe.task), type(recipe.runtime), modules=[KEPT_VECTORS_BY, BATCHED_BY]),
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
        measurement=_plain(_sampled(recipe)) if timed else None,
        # What is measured is the export, and its proof is told beside it.
        sources=_sources(type(recipe.task), type(recipe.runtime), modules=[MEASURED_BY, PROVEN_BY]),
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
        sources=_sources(type(recipe.stages[case["name"]]), type(recipe.task), modules=[EXPLAINED_BY]),
    )


def plots_key(drawing: Drawing) -> str:
    """The key of a report's plots: what they show, and how they are drawn."""
    return content_key(
        what="plots",
        drawing=dataclasses.asdict(drawing),
        sources=sources_of([DRAWN_BY]),
        versions=versions(("matplotlib",)),
    )


def _sampled(recipe: Recipe) -> Mapping[str, Any]:
    """How latency is sampled. A quiet measurement is the same, however long one was ready to wait for it."""
    sampled = {name: value for name, value in recipe.settings["measurement"].items() if name not in PATIENCE}
    return {**sampled, **_together(recipe)}


def _together(recipe: Recipe) -> Mapping[str, Any]:
    """How many examples are timed at once; nothing where each is alone, as it is in keys of before one could ask."""
    return {} if recipe.objective.at_once == 1 else {"at_once": recipe.objective.at_once}


def _computing(recipe: Recipe) -> Mapping[str, Any]:
    """The task's settings without those that only judge."""
    judging = recipe.task.judging
    return {name: value for name, value in recipe.settings["task"].items() if name not in judging}


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


def _model_types_in(settings: Any) -> list[str]:
    """The types of the models whose folders the settings name, such as a student's."""
    if not isinstance(settings, Mapping):
        return []
    found = [name for value in settings.values() for name in _model_types_in(value)]
    for name, value in settings.items():
        if str(name).endswith("_path") and value and (Path(value) / "config.json").is_file():
            found.append(read_config(Path(value)).model_type)
    return found


def _families(*model_types: str) -> list[str]:
    """The modules that hold the tables of these types of models."""
    known = family_modules()
    return [known[name] for name in model_types if name in known]


def _sources(*kinds: type, modules: Sequence[str]) -> dict[str, Any]:
    """By what these classes, and these modules of ours, compute."""
    ours = {kind.__module__ for kind in kinds if kind.__module__.startswith("compress.")}
    own = {Path(str(inspect.getsourcefile(kind))) for kind in kinds if kind.__module__ not in ours}
    # The user's own files by content alone: a moved file is the same file.
    return {"ours": sources_of([*ours, *modules], own), "own": sorted(sha256_of(path) for path in own)}
