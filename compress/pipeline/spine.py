"""The spine: each stage's model is saved, reloaded, measured and judged; what passed is exported."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from compress.core.blame import Blame
from compress.core.errors import CompressError, NothingPassedError
from compress.core.evaluation import Comparison
from compress.core.ledger import Ledger, Row
from compress.core.metric import Label
from compress.core.recipe import Recipe
from compress.core.run_files import EXPORT, LEDGER
from compress.core.spent import Account, spending, spent
from compress.data.repeats import repeats_told, what_is_read
from compress.measure.doubts import doubts
from compress.measure.evaluate import timed
from compress.measure.statistics import compare
from compress.methods.training.processes import same
from compress.nn.checkpoint import read_structure
from compress.pipeline.blame.case import Case
from compress.pipeline.encoded_data import ABOUT
from compress.pipeline.inputs import RecipeInputs
from compress.pipeline.loaded_recipe import LoadedRecipe, load
from compress.pipeline.made.artifacts import help_make, stage_artifact, teacher_artifact
from compress.pipeline.made.evaluations import measured, scores_on_test
from compress.pipeline.made.explanations import explanation_of
from compress.pipeline.made.exports import export_of
from compress.pipeline.made.latency_tables import latency_checks
from compress.pipeline.made.outputs import spare_text
from compress.pipeline.made.plots import plots_of
from compress.pipeline.made.vectors import kept_vectors_of
from compress.pipeline.make_or_find import make_or_find
from compress.pipeline.preflight import check_model, check_order, check_threads
from compress.pipeline.publish import Finding, publish
from compress.pipeline.run_folder import check_folders, forget_earlier_run, only_run_in
from compress.pipeline.steps import Step, expected_speedup, row_of, told_to
from compress.pipeline.store import Store
from compress.report.disturbed import measure_again
from compress.report.tracking.follow import tracked

OnRow = Callable[[Row], None]


@dataclass(frozen=True)
class RunResult:
    """What a run found. export: the exported folder. summary: as in summary.json."""

    folder: Path
    rows: tuple[Row, ...]
    summary: Mapping[str, Any]
    export: Path


def run(
    recipe: Recipe,
    folder: Path,
    *,
    command: str = "",
    sweep: str = "",
    training_threads: int | None = None,
    on_row: OnRow = lambda row: None,
    on_start: Callable[[], None] = lambda: None,
    read: Callable[[Recipe], RecipeInputs] = RecipeInputs.read,
) -> RunResult:
    """Run a recipe in `folder`. Raises InputError before any work, NothingPassedError after all of it.

    training_threads: at most so many, where jobs train side by side; the measurement keeps the runtime's. on_start is
    called once the folder is this run's alone and everything given has been checked; on_row with each row. sweep: the
    name under which a tracker keeps the jobs of one sweep together. read: gives the recipe's data and teacher, read now
    or by an earlier job.
    """
    check_order(recipe)
    check_threads(recipe)
    check_folders(recipe, folder)
    with only_run_in(folder), spent() as account:
        torch.set_num_threads(min(recipe.runtime.threads, training_threads or recipe.runtime.threads))
        with spending("reading data and teacher"):
            loaded, store = load(recipe, warn=_warn, check=partial(check_model, recipe, folder), read=read)
        forget_earlier_run(folder)
        on_start()
        ledger = Ledger(folder / LEDGER)
        with tracked(recipe, folder, command=command, sweep=sweep, warn=_warn) as tracking:

            def tell(row: Row) -> None:
                for told in (ledger.append, tracking.row, on_row):
                    told(row)

            teacher = _start(loaded, store, tell)
            _check_latency(loaded, store, teacher, tell)
            best = _compress(loaded, store, teacher, tell)
            return _finish(loaded, store, folder, ledger, teacher, best, command, account)


def help_train(recipe: Recipe) -> None:
    """Help the main process, which calls `run`, with every training, until it has ended: see
    `compress.methods.training.processes`."""
    ready: tuple[LoadedRecipe, Store] | None = None
    while (asked := same(None)) is not None:
        ready = ready or load(recipe, warn=lambda message: None, check=lambda *given: None)
        # The main process meets the same, and says so.
        with contextlib.suppress(CompressError):
            help_make(*ready, *asked)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr, flush=True)


def _start(loaded: LoadedRecipe, store: Store, tell: OnRow) -> Step:
    with spent() as account:
        artifact = make_or_find(store, teacher_artifact(loaded))
        evaluation = measured(loaded, store, artifact, None)
        teacher = Step("teacher", artifact, evaluation)
        row = row_of(teacher, Label.of(loaded.metric), None, None, "keep", account.so_far())
    # Reasons and findings: so that every output shows them.
    told = tuple(f"warning: {doubt}" for doubt in doubts(evaluation, loaded.metric.thing))
    tell(dataclasses.replace(row, reasons=told, findings=told))
    return teacher


def _check_latency(loaded: LoadedRecipe, store: Store, teacher: Step, tell: OnRow) -> None:
    """Raise InputError, before any stage works, for an objective that one of them could not reach."""
    for name, check in latency_checks(loaded, store, teacher.entry):
        with told_to(tell, name, Label.of(loaded.metric)):
            check()


def _compress(loaded: LoadedRecipe, store: Store, teacher: Step, tell: OnRow) -> Step:
    """The last step that was kept: the teacher itself where none was."""
    recipe, current = loaded.recipe, teacher
    expected: float | None = None
    for name in recipe.order:
        with spent() as account:
            gate = recipe.gates[name]
            with told_to(tell, name, Label.of(loaded.metric)):
                artifact = make_or_find(store, stage_artifact(loaded, name, current.entry, teacher.entry))
                evaluation = measured(loaded, store, artifact, teacher.entry)
            comparison = compare(
                teacher.evaluation,
                evaluation,
                loaded.metric,
                confidence=gate.confidence,
                margin=gate.max_accuracy_drop,
                recall_margin=gate.max_recall_drop,
                spare=spare_text(loaded, store, teacher.entry, artifact),
            )
            verdict = gate.judge(comparison)
            decision = gate.decide(verdict)
            step = Step(name, artifact, evaluation)
            blame = None
            if decision != "keep" or not verdict.within_limits:
                blame = _blame(loaded, store, name, comparison, (teacher, current, step))
            made = read_structure(artifact.folder).kinds() - read_structure(current.entry.folder).kinds()
            expected = expected_speedup(expected, artifact.facts, made, kept=decision == "keep")
            predicted = expected if name == recipe.order[-1] else None
            tell(row_of(step, comparison.metric, comparison, verdict, decision, account.so_far(), blame, predicted))
        if decision == "keep":
            current = step
        if decision == "stop":
            break
    return current


def _blame(
    loaded: LoadedRecipe, store: Store, stage: str, comparison: Comparison, steps: tuple[Step, Step, Step]
) -> Blame | None:
    """Why a stage missed its limits; None where that is not to be found out, or where it is not the metric's.

    steps: the teacher, the model before the stage, and its result.
    """
    recipe = loaded.recipe
    if not recipe.blame_seconds or comparison.score_interval[0] > -recipe.gates[stage].max_accuracy_drop:
        return None
    teacher, before, after = (step.evaluation for step in steps)
    try:
        case = Case(recipe, stage, teacher, before, after, loaded.config)
        with spending("why limits were missed", whole=True):
            return make_or_find(store, explanation_of(loaded, case, *(step.entry for step in steps)))
    except Exception as error:  # noqa: BLE001 - an explanation that cannot be had is no reason to lose the run
        return Blame(notes=(f"what did it was not found out: {type(error).__name__}: {error}",))


def _finish(
    loaded: LoadedRecipe,
    store: Store,
    folder: Path,
    ledger: Ledger,
    teacher: Step,
    best: Step,
    command: str,
    account: Account,
) -> RunResult:
    student = None if best is teacher else best
    summary = publish(
        loaded.recipe,
        folder,
        rows=ledger.rows,
        teacher=_finding(loaded, store, teacher),
        best=None if student is None else _with_vectors(loaded, store, _finding(loaded, store, student)),
        metric=loaded.metric,
        doubts=doubts(teacher.evaluation, loaded.metric.thing),
        examples={name: len(loaded.groups(name)) for name in loaded.examples},
        fingerprints={name: loaded.teacher_encoded.content(name) for name in ("validation", "test")},
        groups=len(set(loaded.groups("validation"))),
        notes=tuple(
            dict.fromkeys(
                (
                    *loaded.notes,
                    *loaded.recipe.teacher.doubts(),
                    *_repeats(loaded),
                    *_not_taken_up(loaded.recipe),
                    *_not_watched(teacher),
                )
            )
        ),
        command=command,
        spent=account.so_far(),
        plots=lambda drawing: make_or_find(store, plots_of(drawing)),
    )
    if student is None:
        reasons = "; ".join(f"{row.stage}: {', '.join(row.reasons)}" for row in ledger.rows[1:])
        again = f" {measure_again(summary)}." if any(row.disturbance for row in ledger.rows) else ""
        raise NothingPassedError(f"nothing passed its gate, so nothing was exported. {reasons}.{again} See {folder}.")
    return RunResult(folder, tuple(ledger.rows), summary, folder / EXPORT)


def _not_taken_up(recipe: Recipe) -> list[str]:
    """A sentence about a speed that was asked for and that nothing works towards."""
    if recipe.objective.speedup is None or any(recipe.stages[name].uses_latency for name in recipe.order):
        return []
    return [
        f"objective.speedup is {recipe.objective.speedup:g}, and no stage of order=[{','.join(recipe.order)}] chooses "
        "sizes by it: they are as set"
    ]


def _not_watched(teacher: Step) -> list[str]:
    """A sentence where nothing says whether others disturbed what was timed: on systems other than Linux, and in
    sandboxes that show no counters."""
    latency = teacher.evaluation.latency
    if latency is None or latency.disturbed is not None:
        return []
    return [
        "this system does not say whether other processes disturbed what was timed: times and speed-ups hold if the "
        "machine did nothing else meanwhile"
    ]


def _repeats(loaded: LoadedRecipe) -> list[str]:
    """Sentences about examples that are there more than once as the model reads them: cut, lower-cased, encoded."""
    task = loaded.recipe.task
    # What is only there to be found, such as the documents of both splits, may be the same.
    judged = {name: part.select(timed(range(len(part)), task.units(part))) for name, part in loaded.examples.items()}
    read = {name: what_is_read(part, (), ABOUT) for name, part in judged.items()}
    labels = {} if task.asks_teacher else {name: part["labels"][:] for name, part in judged.items()}
    return repeats_told(read, labels)


def _with_vectors(loaded: LoadedRecipe, store: Store, finding: Finding) -> Finding:
    """With an export that gives its vectors in fewer bytes too, where that is asked for."""
    if not loaded.recipe.vectors:
        return finding
    vectors = make_or_find(store, kept_vectors_of(loaded, finding.entry))
    return dataclasses.replace(finding, export=vectors.folder, vectors=vectors)


def _finding(loaded: LoadedRecipe, store: Store, step: Step) -> Finding:
    export = make_or_find(store, export_of(loaded, step.entry)).folder or step.entry.folder
    test = make_or_find(store, scores_on_test(loaded, step.entry)) if "test" in loaded.examples else None
    return Finding(step.stage, step.entry, export, step.evaluation, test)
