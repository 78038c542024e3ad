"""The spine: each stage's model is saved, reloaded, measured and judged; what passed is exported."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compress.core.blame import Blame
from compress.core.errors import CompressError, NothingPassedError, StageError
from compress.core.evaluation import Comparison, Evaluation
from compress.core.gate import Verdict
from compress.core.ledger import Ledger, Row
from compress.core.metric import Label
from compress.core.recipe import Recipe
from compress.core.run_files import EXPORT, LEDGER
from compress.core.secrets import masked
from compress.measure.bystanders import disturbance
from compress.measure.statistics import compare, percentiles
from compress.methods.training.processes import same
from compress.pipeline.blame.case import Case
from compress.pipeline.preflight import check_model, check_order, check_threads
from compress.pipeline.prepared import Material
from compress.pipeline.publish import Finding, publish
from compress.pipeline.run_folder import check_folders, forget_earlier_run, only_run_in
from compress.pipeline.store import Entry
from compress.pipeline.workshop import Workshop
from compress.report.tracking.follow import tracked

OnRow = Callable[[Row], None]


@dataclass(frozen=True)
class RunResult:
    """What a run found. export: the exported folder. summary: as in summary.json."""

    folder: Path
    rows: tuple[Row, ...]
    summary: Mapping[str, Any]
    export: Path


@dataclass(frozen=True)
class Step:
    """A model on the way, with what was measured."""

    stage: str
    entry: Entry
    evaluation: Evaluation


def run(
    recipe: Recipe,
    folder: Path,
    *,
    command: str = "",
    sweep: str = "",
    training_threads: int | None = None,
    on_row: OnRow = lambda row: None,
    on_start: Callable[[], None] = lambda: None,
    read: Callable[[Recipe], Material] = Material.of,
) -> RunResult:
    """Run a recipe in `folder`. Raises InputError before any work, NothingPassedError after all of it.

    training_threads: at most so many, where jobs train side by side; the measurement keeps the runtime's. on_start is
    called once the folder is this run's alone and everything given has been checked; on_row with each row. sweep: the
    name under which a tracker keeps the jobs of one sweep together. read: gives the recipe's data and teacher, read now
    or by an earlier job.
    """
    started = time.monotonic()
    check_order(recipe)
    check_threads(recipe)
    check_folders(recipe, folder)
    with only_run_in(folder):
        torch.set_num_threads(min(recipe.runtime.threads, training_threads or recipe.runtime.threads))
        workshop = Workshop(recipe, warn=_warn, check=lambda *given: check_model(recipe, folder, *given), read=read)
        forget_earlier_run(folder)
        on_start()
        ledger = Ledger(folder / LEDGER)
        with tracked(recipe, folder, command=command, sweep=sweep, warn=_warn) as tracking:

            def tell(row: Row) -> None:
                tracking.row(row)
                on_row(row)

            teacher = _start(workshop, ledger, tell)
            _check_latency(workshop, teacher, ledger, tell)
            best = _compress(workshop, teacher, ledger, tell)
            return _finish(workshop, folder, ledger, teacher, best, command, started)


def help_train(recipe: Recipe) -> None:
    """Help the main process, which calls `run`, with every training, until it has ended: see
    `compress.methods.training.processes`."""
    workshop: Workshop | None = None
    while (asked := same(None)) is not None:
        workshop = workshop or Workshop(recipe, warn=lambda message: None, check=lambda *given: None)
        # The main process meets the same, and says so.
        with contextlib.suppress(CompressError):
            workshop.take_part(*asked)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr, flush=True)


def _start(workshop: Workshop, ledger: Ledger, on_row: OnRow) -> Step:
    started = time.monotonic()
    artifact = workshop.teacher()
    evaluation = workshop.evaluate(artifact, None)
    teacher = Step("teacher", artifact, evaluation)
    label = Label.of(workshop.metric)
    on_row(ledger.append(_row(teacher, label, None, None, "keep", time.monotonic() - started)))
    return teacher


def _check_latency(workshop: Workshop, teacher: Step, ledger: Ledger, on_row: OnRow) -> None:
    """Raise InputError, before any stage works, for an objective that one of them could not reach."""
    for name, check in workshop.latency_checks(teacher.entry):
        with _told_to(ledger, on_row, name):
            check()


def _compress(workshop: Workshop, teacher: Step, ledger: Ledger, on_row: OnRow) -> Step:
    """The last step that was kept: the teacher itself where none was."""
    recipe, current = workshop.recipe, teacher
    for name in recipe.order:
        started, gate = time.monotonic(), recipe.gates[name]
        with _told_to(ledger, on_row, name):
            artifact = workshop.produce(name, current.entry, teacher.entry)
            evaluation = workshop.evaluate(artifact, teacher.entry)
        comparison = compare(
            teacher.evaluation,
            evaluation,
            workshop.metric,
            confidence=gate.confidence,
            margin=gate.max_accuracy_drop,
        )
        verdict = gate.judge(comparison)
        decision = gate.decide(verdict)
        step = Step(name, artifact, evaluation)
        blame = None
        if decision != "keep" or not verdict.within_limits:
            blame = _blame(workshop, name, comparison, (teacher, current, step))
        on_row(
            ledger.append(
                _row(step, comparison.metric, comparison, verdict, decision, time.monotonic() - started, blame)
            )
        )
        if decision == "keep":
            current = step
        if decision == "stop":
            break
    return current


def _blame(workshop: Workshop, stage: str, comparison: Comparison, steps: tuple[Step, Step, Step]) -> Blame | None:
    """Why a stage missed its limits; None where that is not to be found out, or where it is not the metric's.

    steps: the teacher, the model before the stage, and its result.
    """
    recipe = workshop.recipe
    if not recipe.blame_seconds or comparison.score_interval[0] > -recipe.gates[stage].max_accuracy_drop:
        return None
    teacher, before, after = (step.evaluation for step in steps)
    try:
        return workshop.blame(
            Case(recipe, stage, teacher, before, after, workshop.config), *(step.entry for step in steps)
        )
    except Exception as error:  # noqa: BLE001 - an explanation that cannot be had is no reason to lose the run
        return Blame(notes=(f"what did it was not found out: {type(error).__name__}: {error}",))


def _finish(
    workshop: Workshop, folder: Path, ledger: Ledger, teacher: Step, best: Step, command: str, started: float
) -> RunResult:
    student = None if best is teacher else best
    summary = publish(
        workshop.recipe,
        folder,
        rows=ledger.rows,
        teacher=_finding(workshop, teacher),
        best=None if student is None else _finding(workshop, student),
        metric=workshop.metric,
        examples={name: len(split) for name, split in workshop.examples.items()},
        fingerprints={name: workshop.content(name) for name in ("validation", "test")},
        groups=len(set(workshop.examples["validation"]["group"][:])),
        notes=(*workshop.notes, *workshop.recipe.teacher.doubts()),
        command=command,
        seconds=time.monotonic() - started,
        plots=workshop.plots,
    )
    if student is None:
        reasons = "; ".join(f"{row.stage}: {', '.join(row.reasons)}" for row in ledger.rows[1:])
        raise NothingPassedError(f"nothing passed its gate, so nothing was exported. {reasons}. See {folder}.")
    return RunResult(folder, tuple(ledger.rows), summary, folder / EXPORT)


def _finding(workshop: Workshop, step: Step) -> Finding:
    export = workshop.export(step.entry)[0] or step.entry.folder
    return Finding(step.stage, step.entry, export, step.evaluation, workshop.test(step.entry))


def _row(
    step: Step,
    metric: Label,
    comparison: Comparison | None,
    verdict: Verdict | None,
    decision: str,
    seconds: float,
    blame: Blame | None = None,
) -> Row:
    evaluation = step.evaluation
    assert evaluation.latency is not None and evaluation.size is not None
    p50, p90 = percentiles(evaluation.latency)
    return Row(
        stage=step.stage,
        artifact=step.entry.key,
        verdict=verdict.outcome if verdict else "baseline",
        reasons=verdict.reasons if verdict else (),
        decision=decision,
        metric=metric,
        value=evaluation.value,
        difference=comparison.score_difference if comparison else None,
        interval=comparison.score_interval if comparison else None,
        latency_ms_p50=p50,
        latency_ms_p90=p90,
        speedup=comparison.speedup if comparison else 1.0,
        speedup_interval=comparison.speedup_interval if comparison else None,
        speedup_vs_torch=comparison.speedup_vs_torch if comparison else evaluation.torch_ratio,
        size_bytes=evaluation.size.bytes,
        parameters=evaluation.size.parameters,
        nonzero_parameters=evaluation.size.nonzero_parameters,
        bytes_by_part=dict(evaluation.size.bytes_by_part),
        seconds=seconds,
        reused=step.entry.reused,
        notes=(*step.entry.facts["notes"], *_doubts(evaluation)),
        blame=blame,
        findings=verdict.findings if verdict else (),
    )


def _doubts(evaluation: Evaluation) -> tuple[str, ...]:
    """Sentences about a measurement that was not alone."""
    assert evaluation.latency is not None
    found = disturbance(evaluation.latency.foreign_share, evaluation.environment["threads"], "this was timed")
    way_out = "to measure again on an idle machine, remove the folder evaluations from the store"
    return () if found is None else (f"{found}: times and speed-up may be far off; {way_out}",)


@contextlib.contextmanager
def _told_to(ledger: Ledger, on_row: OnRow, stage: str) -> Iterator[None]:
    """Whatever is raised inside becomes a row with the reason before it goes on its way: a stage may be the user's own,
    and raise anything. A stage that ends the process breaks the run: its exit status is none of ours."""
    started = time.monotonic()
    try:
        yield
    except (Exception, SystemExit) as error:
        # The teacher's row is the first: nothing before it tells the ledger what broke.
        metric = ledger.rows[0].metric
        on_row(ledger.append(_broken_row(stage, metric, _reason(error), time.monotonic() - started)))
        if isinstance(error, SystemExit):
            raise StageError(f"the stage {stage} called for an end of the process ({_reason(error)})") from error
        raise


def _reason(error: BaseException) -> str:
    """In one line; what is not ours with its type, without which many a message says nothing."""
    if isinstance(error, CompressError):
        return str(masked(str(error)))
    return " ".join(str(masked(f"{type(error).__name__}: {error}")).split())


def _broken_row(stage: str, metric: Label, reason: str, seconds: float) -> Row:
    told: dict[str, Any] = {
        "stage": stage,
        "verdict": "error",
        "reasons": (reason,),
        "decision": "stop",
        "seconds": seconds,
        "reused": False,
        "notes": (),
        "findings": (),
        "metric": metric,
    }
    values: dict[str, Any] = {field.name: told.get(field.name) for field in dataclasses.fields(Row)}
    return Row(**values)
