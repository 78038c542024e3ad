"""The spine: each stage's model is saved, reloaded, measured and judged; what passed is exported."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from transformers import set_seed

from compress.core.errors import CompressError, InputError, NothingPassedError
from compress.core.evaluation import Comparison, Evaluation, Proof
from compress.core.gate import Verdict
from compress.core.ledger import Ledger, Row
from compress.core.words import Context, Recipe, TeacherContext
from compress.data.splits import fingerprint
from compress.keys import artifact_key, evaluation_key, export_key, teacher_key
from compress.measure.accuracy import write_batches
from compress.measure.evaluate import (
    candidate_of,
    evaluation_from_json,
    evaluation_to_json,
    score,
    size_of,
    time_candidate,
    torch_ratio_of,
)
from compress.measure.processes import Candidate
from compress.measure.prove import prove, write_probe
from compress.measure.statistics import compare, percentiles
from compress.models.checkpoint import load_model, read_structure, save_model, settle
from compress.preflight import check_order, check_settings, check_space, check_teacher
from compress.publish import publish
from compress.store import Entry, Store


@dataclass(frozen=True)
class RunResult:
    """What a run found. export: the exported folder, or None where nothing passed. summary: as in summary.json."""

    folder: Path
    rows: tuple[Row, ...]
    summary: Mapping[str, Any]
    export: Path | None


@dataclass(frozen=True)
class Judged:
    """A stage's artifact with what was measured and judged."""

    stage: str
    entry: Entry
    evaluation: Evaluation
    comparison: Comparison | None
    verdict: Verdict | None


@dataclass
class Workshop:
    """What the steps of one run share."""

    recipe: Recipe
    store: Store
    processor: Any
    config: Any
    examples: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    notes: list[str]
    batches: dict[str, Path] = field(default_factory=dict)


def run(recipe: Recipe, folder: Path, *, command: str = "", on_row: Callable[[Row], None] = lambda row: None) -> RunResult:
    """Run a recipe in `folder`. Raises InputError before any work, NothingPassedError after all of it."""
    started = time.monotonic()
    check_order(recipe)
    with _only_run_in(folder):
        workshop = _open_workshop(recipe)
        torch.set_num_threads(recipe.runtime.threads)
        ledger = Ledger(folder / "ledger.jsonl")
        teacher = _teacher(workshop, folder, ledger, on_row)
        judged = _stages(workshop, teacher, ledger, on_row)
        kept = [step for step, row in zip(judged, ledger.rows[1:], strict=True) if row.decision == "keep"]
        return _finish(workshop, folder, ledger, teacher, kept[-1] if kept else None, command, started)


def _stages(workshop: Workshop, teacher: Judged, ledger: Ledger, on_row: Callable[[Row], None]) -> list[Judged]:
    recipe, current, judged = workshop.recipe, teacher, []
    for name in recipe.order:
        started = time.monotonic()
        try:
            entry = _produce(workshop, name, current.entry, teacher.entry)
            evaluation = _evaluate(workshop, entry, teacher)
        except CompressError as error:
            on_row(ledger.append(_broken_row(name, error, time.monotonic() - started)))
            raise
        gate = recipe.gates[name]
        comparison = compare(
            teacher.evaluation, evaluation, confidence=gate.confidence, margin=gate.max_accuracy_drop
        )
        verdict = gate.judge(comparison)
        step = Judged(name, entry, evaluation, comparison, verdict)
        decision = gate.decide(verdict)
        judged.append(step)
        on_row(ledger.append(_row(step, decision, time.monotonic() - started)))
        if decision == "keep":
            current = step
        if decision == "stop":
            break
    return judged


def _open_workshop(recipe: Recipe) -> Workshop:
    store = Store(recipe.store, warn=lambda message: print(f"warning: {message}", flush=True))
    splits = recipe.data.load()
    config, processor = recipe.teacher.read(recipe.task, splits.train)
    given = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    examples = {
        name: recipe.task.encode(split, processor, config, name) for name, split in given.items() if split is not None
    }
    fingerprints = {name: fingerprint(split) for name, split in examples.items()}
    workshop = Workshop(recipe, store, processor, config, examples, fingerprints, list(splits.notes))
    for name, split in examples.items():
        if name != "train":
            path = store.cache_folder("batches") / f"{fingerprints[name]}.npz"
            if not path.exists():
                temporary = path.with_name(f"{path.stem}.{os.getpid()}.npz")
                write_batches(split, recipe.task, processor, temporary)
                temporary.rename(path)
            workshop.batches[name] = path
    return workshop


def _collate(workshop: Workshop) -> Callable[[Any], dict[str, Any]]:
    return lambda rows: workshop.recipe.task.collate(rows, workshop.processor)


def _teacher(workshop: Workshop, folder: Path, ledger: Ledger, on_row: Callable[[Row], None]) -> Judged:
    recipe, started = workshop.recipe, time.monotonic()
    key = teacher_key(recipe, workshop.fingerprints["train"])

    def make(target: Path) -> dict[str, Any]:
        began = time.monotonic()
        context = TeacherContext(
            task=recipe.task,
            config=workshop.config,
            processor=workshop.processor,
            train=workshop.examples["train"],
            device=recipe.device,
            seed=recipe.seed,
            work_folder=workshop.store.work_folder(key),
            collate=_collate(workshop),
        )
        model = recipe.teacher.make(context)
        check_settings(recipe, model)
        check_space(recipe, folder, sum(t.numel() * t.element_size() for t in model.state_dict().values()))
        return _save(workshop, model, target, parent=None, notes=(), began=began)

    entry = workshop.store.entry("artifacts", key, make)
    workshop.store.forget_work(key)
    check_teacher(recipe, read_structure(entry.folder))
    if entry.reused:
        check_settings(recipe, load_model(entry.folder))
        check_space(recipe, folder, (entry.folder / "model.safetensors").stat().st_size)
    evaluation = _evaluate(workshop, entry, None)
    step = Judged("teacher", entry, evaluation, None, None)
    on_row(ledger.append(_row(step, "keep", time.monotonic() - started)))
    return step


def _produce(workshop: Workshop, name: str, parent: Entry, teacher: Entry) -> Entry:
    recipe, store = workshop.recipe, workshop.store
    key = artifact_key(recipe, name, parent.key, teacher.key, workshop.fingerprints["train"])

    def make(target: Path) -> dict[str, Any]:
        began = time.monotonic()
        notes: list[str] = []
        set_seed(recipe.seed)
        context = Context(
            teacher=load_model(teacher.folder),
            teacher_key=teacher.key,
            task=recipe.task,
            processor=workshop.processor,
            train=workshop.examples["train"],
            train_fingerprint=workshop.fingerprints["train"],
            device=recipe.device,
            seed=recipe.seed,
            threads=recipe.runtime.threads,
            work_folder=store.work_folder(key),
            cache_folder=store.cache_folder("teacher-outputs"),
            note=notes.append,
            collate=_collate(workshop),
        )
        model = recipe.stages[name].apply(load_model(parent.folder), context)
        return _save(workshop, model, target, parent=parent.key, notes=tuple(notes), began=began)

    entry = store.entry("artifacts", key, make)
    store.forget_work(key)
    return entry


def _save(
    workshop: Workshop, model: Any, target: Path, *, parent: str | None, notes: tuple[str, ...], began: float
) -> dict[str, Any]:
    task = workshop.recipe.task
    settle(model)
    save_model(model, target)
    task.save_processor(workshop.processor, target)
    write_probe(target, model, task, workshop.examples["validation"], workshop.processor)
    return {"parent": parent, "notes": list(notes), "seconds": time.monotonic() - began}


def _export(workshop: Workshop, artifact: Entry) -> tuple[Path | None, Proof]:
    runtime, task = workshop.recipe.runtime, workshop.recipe.task

    def make(target: Path) -> dict[str, Any]:
        proof = prove(artifact.folder, target if runtime.needs_export else None, task, runtime)
        return dataclasses.asdict(proof)

    try:
        entry = workshop.store.entry("exports", export_key(workshop.recipe, artifact.key), make)
    except CompressError as error:
        workshop.store.set_aside(artifact, str(error))
        raise
    facts = {**entry.facts, "shapes": tuple(tuple(shape) for shape in entry.facts["shapes"])}
    return entry.folder if runtime.needs_export else None, Proof(**facts)


def _evaluate(workshop: Workshop, artifact: Entry, teacher: Judged | None) -> Evaluation:
    """Proof, scores, size, and latency: in turns with the teacher, or for the teacher itself with plain PyTorch."""
    recipe = workshop.recipe
    export, proof = _export(workshop, artifact)
    candidate = candidate_of(recipe.runtime, artifact.folder, export)
    if teacher is not None:
        baseline = _teacher_candidate(workshop, teacher.entry)
    else:
        baseline = Candidate(runtime="torch", threads=recipe.runtime.threads, folder=artifact.folder)

    def make(target: Path) -> dict[str, Any]:
        validation = workshop.examples["validation"]
        evaluation = _score(workshop, candidate, artifact.key, "validation")
        latency = time_candidate(
            candidate, baseline, validation["length"], workshop.batches["validation"], recipe.measurement
        )
        ratio = torch_ratio_of(latency) if teacher is None else None
        evaluation = dataclasses.replace(
            evaluation, latency=latency, size=size_of(artifact.folder, export), proof=proof, torch_ratio=ratio
        )
        return _write_evaluation(evaluation, target)

    against = "" if teacher is None else teacher.entry.key
    key = evaluation_key(recipe, artifact.key, against, workshop.fingerprints["validation"], timed=True)
    return _read_evaluation(workshop.store.entry("evaluations", key, make))


def _teacher_candidate(workshop: Workshop, teacher: Entry) -> Candidate:
    export, _ = _export(workshop, teacher)
    return candidate_of(workshop.recipe.runtime, teacher.folder, export)


def _score(workshop: Workshop, candidate: Candidate, key: str, split: str) -> Evaluation:
    return score(
        candidate,
        key,
        workshop.examples[split],
        workshop.batches[split],
        workshop.recipe.task,
        split=split,
        threads=workshop.recipe.runtime.threads,
    )


def _test(workshop: Workshop, artifact: Entry) -> Evaluation:
    """Scores on the test split, which nothing else reads."""
    export, _ = _export(workshop, artifact)
    candidate = candidate_of(workshop.recipe.runtime, artifact.folder, export)
    key = evaluation_key(workshop.recipe, artifact.key, "", workshop.fingerprints["test"], timed=False)
    return _read_evaluation(
        workshop.store.entry(
            "evaluations",
            key,
            lambda target: _write_evaluation(_score(workshop, candidate, artifact.key, "test"), target),
        )
    )


def _write_evaluation(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    (folder / "evaluation.json").write_text(json.dumps(evaluation_to_json(evaluation)), encoding="utf-8")
    return {"artifact": evaluation.artifact, "split": evaluation.split}


def _read_evaluation(entry: Entry) -> Evaluation:
    return evaluation_from_json(json.loads((entry.folder / "evaluation.json").read_text(encoding="utf-8")))


def _finish(
    workshop: Workshop,
    folder: Path,
    ledger: Ledger,
    teacher: Judged,
    best: Judged | None,
    command: str,
    started: float,
) -> RunResult:
    tests: dict[str, Evaluation] = {}
    if "test" in workshop.examples:
        tests = {step.stage: _test(workshop, step.entry) for step in (teacher, best) if step is not None}
    export = None if best is None else _export(workshop, best.entry)[0] or best.entry.folder
    summary = publish(
        workshop.recipe,
        folder,
        rows=ledger.rows,
        teacher=(teacher.entry, teacher.evaluation, tests.get("teacher")),
        best=None if best is None else (best.stage, best.entry, best.evaluation, tests.get(best.stage)),
        export=export,
        examples={name: len(split) for name, split in workshop.examples.items()},
        groups=len(set(workshop.examples["validation"]["group"])),
        notes=workshop.notes,
        command=command,
        seconds=time.monotonic() - started,
    )
    if best is None:
        reasons = "; ".join(f"{row.stage}: {', '.join(row.reasons)}" for row in ledger.rows[1:])
        raise NothingPassedError(f"nothing passed its gate, so nothing was exported. {reasons}. See {folder}/report.html.")
    return RunResult(folder, tuple(ledger.rows), summary, folder / "export")


def _row(step: Judged, decision: str, seconds: float) -> Row:
    evaluation, comparison = step.evaluation, step.comparison
    assert evaluation.latency is not None and evaluation.size is not None
    p50, p90 = percentiles(evaluation.latency)
    ours = None if comparison is None else comparison
    return Row(
        stage=step.stage,
        artifact=step.entry.key,
        verdict="baseline" if step.verdict is None else step.verdict.outcome,
        reasons=() if step.verdict is None else step.verdict.reasons,
        decision=decision,
        accuracy=evaluation.score,
        accuracy_difference=None if ours is None else ours.score_difference,
        accuracy_interval=None if ours is None else ours.score_interval,
        latency_ms_p50=p50,
        latency_ms_p90=p90,
        speedup=1.0 if ours is None else ours.speedup,
        speedup_interval=None if ours is None else ours.speedup_interval,
        speedup_vs_torch=evaluation.torch_ratio if ours is None else ours.speedup_vs_torch,
        size_bytes=evaluation.size.bytes,
        parameters=evaluation.size.parameters,
        nonzero_parameters=evaluation.size.nonzero_parameters,
        bytes_by_part=dict(evaluation.size.bytes_by_part),
        seconds=seconds,
        reused=step.entry.reused,
        notes=tuple(step.entry.facts["notes"]),
    )


def _broken_row(stage: str, error: CompressError, seconds: float) -> Row:
    empty = {f.name: None for f in dataclasses.fields(Row)}
    told = {
        "stage": stage,
        "verdict": "error",
        "reasons": (str(error),),
        "decision": "stop",
        "seconds": seconds,
        "reused": False,
        "notes": (),
    }
    return Row(**{**empty, **told})  # type: ignore[arg-type]


@contextlib.contextmanager
def _only_run_in(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"hydra.run.dir is {folder}, in use by another run that is still alive. Wait for it, or name another folder."
        ) from None
    except OSError as error:
        raise InputError(
            f"hydra.run.dir is {folder}, which cannot be written ({error.strerror}). Name another folder."
        ) from error
    try:
        # What an earlier, unfinished run left here would contradict this one's ledger.
        for name in ("summary.json", "report.html"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "export", ignore_errors=True)
        yield
    finally:
        lock.release()
