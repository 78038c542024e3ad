"""Artifacts: the teacher's, and what each stage makes of the one before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from transformers import set_seed

from compress.core.context import Context, TeacherContext
from compress.core.fact_table import FactTable
from compress.core.latency_table import LatencyTable
from compress.measure.prove import write_probe, write_raw_probe
from compress.methods.training.processes import once, same
from compress.nn.checkpoint import load_model, save_model, settle
from compress.nn.fusion import LayerSizes
from compress.nn.layers.fused_layer import FusedLayerSizes
from compress.pipeline.encoded_data import UNLABELLED, EncodedData, joined_fingerprint
from compress.pipeline.keys import artifact_key
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.made.latency_tables import begun_with, doubt, key_of_table, latency_table
from compress.pipeline.make_or_find import Facts, Work, room_for, the_entry
from compress.pipeline.steps import PREDICTED
from compress.pipeline.store import Entry, Store, bytes_in

KIND = "artifacts"


@dataclass(frozen=True)
class _Said:
    """What a stage says through its context, and brings: its sentences and tables, its result's own processor, and how
    many times as fast as the teacher it expects that to be; the last one of each of these two counts."""

    notes: list[str] = field(default_factory=list)
    tables: list[FactTable] = field(default_factory=list)
    processors: list[Any] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)


def teacher_artifact(loaded: LoadedRecipe) -> Work[Entry]:
    """The teacher's artifact."""
    encoded, key = loaded.teacher_encoded, loaded.teacher_key

    def make(store: Store, folder: Path) -> Facts:
        same(("teacher", key))
        _save(loaded, _make_teacher(loaded, store, key), folder, encoded)
        return {"parent": None, "processor": None, "notes": [], "tables": []}

    return Work(
        kind=KIND,
        key=key,
        make=make,
        read=the_entry,
        what="the teacher",
        needed_bytes=room_for(4 * loaded.parameters),
        effort=partial(loaded.effort, "teacher"),
        resumes=True,
    )


def stage_artifact(loaded: LoadedRecipe, stage: str, parent: Entry, teacher: Entry) -> Work[Entry]:
    """What `stage` makes of `parent`. facts: `processor` is the key of the artifact that brought the processor; None
    for the teacher's."""
    key = _stage_key(loaded, stage, parent, teacher)

    def make(store: Store, folder: Path) -> Facts:
        said = _Said()
        same(("stage", stage, parent, teacher, key))
        model = _apply(loaded, store, stage, parent, teacher, key, said=said)
        encoded, source = loaded.encoded(parent), parent.facts["processor"]
        if said.processors:
            encoded, source = loaded.inputs.encoded_by(key, lambda: (said.processors[-1], model.config)), key
        _save(loaded, model, folder, encoded)
        tables = [table.to_json() for table in said.tables]
        facts = {"parent": parent.key, "processor": source, "notes": said.notes, "tables": tables}
        return {**facts, PREDICTED: said.predicted[-1]} if said.predicted else facts

    return Work(
        kind=KIND,
        key=key,
        make=make,
        read=the_entry,
        what=f"what {stage} makes",
        needed_bytes=room_for(bytes_in(parent.folder)),
        effort=partial(loaded.effort, stage),
        resumes=True,
    )


def help_make(loaded: LoadedRecipe, store: Store, what: str, *given: Any) -> None:
    """Do in a helping process (see `compress.methods.training.processes`) what the main process has begun to make."""
    if what == "teacher":
        _make_teacher(loaded, store, *given)
    else:
        _apply(loaded, store, *given, said=_Said())


def _stage_key(loaded: LoadedRecipe, stage: str, parent: Entry, teacher: Entry) -> str:
    recipe, of_teacher, ours = loaded.recipe, loaded.encoded(teacher), loaded.encoded(parent)
    prints = joined_fingerprint("train", ours, of_teacher), joined_fingerprint(UNLABELLED, ours, of_teacher)
    timed = key_of_table(loaded, teacher, {}) if recipe.stages[stage].uses_latency else ""
    return artifact_key(recipe, stage, parent.key, teacher.key, loaded.config.model_type, *prints, timed)


def _make_teacher(loaded: LoadedRecipe, store: Store, key: str) -> Any:
    recipe, encoded = loaded.recipe, loaded.teacher_encoded
    context = TeacherContext(
        task=recipe.task,
        config=loaded.config,
        processor=encoded.processor,
        train=encoded.split("train"),
        device=recipe.device,
        seed=recipe.seed,
        work_folder=store.work_folder(key),
        collate=encoded.collate,
    )
    return recipe.teacher.make(context)


def _apply(
    loaded: LoadedRecipe,
    store: Store,
    stage: str,
    parent: Entry,
    teacher: Entry,
    key: str,
    *,
    said: _Said,
) -> Any:
    """The stage's model. said: takes up what the stage says and brings."""
    recipe, encoded, work_folder = loaded.recipe, loaded.encoded(parent), store.work_folder(key)
    set_seed(recipe.seed)

    def latency(sizes: FusedLayerSizes | LayerSizes, low_rank: bool = False) -> LatencyTable:
        find = partial(latency_table, loaded, store, teacher, sizes, low_rank=low_rank, again=True)
        table = begun_with(work_folder, find, said.notes.append)
        doubted = doubt(table, recipe.runtime.threads)
        if doubted is not None:
            said.notes.append(doubted)
        return table

    context = Context(
        teacher=load_model(teacher.folder),
        teacher_key=teacher.key,
        task=recipe.task,
        processor=encoded.processor,
        train=encoded.split("train"),
        train_fingerprint=encoded.fingerprint("train"),
        unlabelled=encoded.unlabelled,
        unlabelled_fingerprint=encoded.fingerprint(UNLABELLED),
        spliced=partial(encoded.spliced, seed=recipe.seed),
        teacher_reading=loaded.encoded(teacher).for_student(encoded, recipe.seed),
        device=recipe.device,
        seed=recipe.seed,
        threads=recipe.runtime.threads,
        work_folder=work_folder,
        cache_folder=store.cache_folder("teacher-outputs"),
        note=said.notes.append,
        tell=said.tables.append,
        collate=encoded.collate,
        use_processor=said.processors.append,
        predict=said.predicted.append,
        latency=lambda sizes, low_rank=False: once(lambda: latency(sizes, low_rank)),
    )
    return recipe.stages[stage].apply(load_model(parent.folder), context)


def _save(loaded: LoadedRecipe, model: Any, folder: Path, encoded: EncodedData) -> None:
    task, threads = loaded.recipe.task, loaded.recipe.runtime.threads
    settle(model)
    save_model(model, folder)
    task.save_processor(encoded.processor, folder)
    write_probe(folder, model, task, encoded.split("validation"), encoded.processor, threads)
    write_raw_probe(folder, model.config, task, encoded.examples("validation"), encoded.processor)
