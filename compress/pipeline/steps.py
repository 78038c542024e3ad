"""A model on the way, and its line of the ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from compress.core.blame import Blame
from compress.core.errors import CompressError, StageError
from compress.core.evaluation import BUSY, MEASURE_AGAIN, Comparison, Evaluation
from compress.core.fact_table import FactTable
from compress.core.gate import Verdict
from compress.core.ledger import Row
from compress.core.metric import Label
from compress.core.secrets import masked
from compress.measure.batch_effect import told
from compress.measure.bystanders import disturbance
from compress.measure.statistics import percentiles
from compress.pipeline.store import Entry

# Of what a stage made: how many times as fast as the teacher it expects the model to be after the stages to come.
PREDICTED = "predicted_speedup"


@dataclass(frozen=True)
class Step:
    """A model on the way, with what was measured."""

    stage: str
    entry: Entry
    evaluation: Evaluation


def row_of(
    step: Step,
    metric: Label,
    comparison: Comparison | None,
    verdict: Verdict | None,
    decision: str,
    spent: Mapping[str, float],
    blame: Blame | None = None,
    predicted: float | None = None,
) -> Row:
    """The line of a step that was measured. metric: what its numbers are of. comparison, verdict: none of the teacher.
    spent: seconds since the stage began, by what for. blame: why it missed its limits, where it did. predicted: its
    speed-up."""
    evaluation = step.evaluation
    assert evaluation.latency is not None and evaluation.size is not None
    p50, p90 = percentiles(evaluation.latency)
    disturbance = comparison.disturbance if comparison else evaluation.latency.disturbance
    row = Row(
        stage=step.stage,
        artifact=step.entry.key,
        verdict=verdict.outcome if verdict else "baseline",
        reasons=verdict.reasons if verdict else (),
        decision=decision,
        metric=metric,
        value=evaluation.value,
        difference=comparison.score_difference if comparison else None,
        interval=comparison.score_interval if comparison else None,
        latency_ms_p50=None if disturbance else p50,
        latency_ms_p90=None if disturbance else p90,
        speedup=comparison.speedup if comparison else 1.0,
        speedup_interval=comparison.speedup_interval if comparison else None,
        speedup_vs_torch=comparison.speedup_vs_torch if comparison else evaluation.torch_ratio,
        size_bytes=evaluation.size.bytes,
        parameters=evaluation.size.parameters,
        nonzero_parameters=evaluation.size.nonzero_parameters,
        bytes_by_part=dict(evaluation.size.bytes_by_part),
        seconds=sum(spent.values()),
        spent={name: round(seconds, 2) for name, seconds in spent.items()},
        reused=step.entry.reused,
        notes=(
            *step.entry.facts["notes"],
            *_doubts(evaluation),
            *_in_batches(evaluation),
            *(verdict.notes if verdict else ()),
        ),
        blame=blame,
        findings=verdict.findings if verdict else (),
        missed=verdict.missed if verdict else (),
        figures=evaluation.figures,
        tables=tuple(FactTable.from_json(table) for table in step.entry.facts.get("tables", ())),
        disturbance=disturbance,
        predicted_speedup=predicted,
        prediction_powered=comparison.prediction_powered if comparison else None,
    )
    if row.contradiction is None:
        return row
    # Both, so that every output shows it.
    reasons, findings = (*row.reasons, row.contradiction), (*row.findings, row.contradiction)
    return dataclasses.replace(row, reasons=reasons, findings=findings)


def expected_speedup(
    expected: float | None, facts: Mapping[str, Any], made: Collection[str], *, kept: bool
) -> float | None:
    """What is predicted of the model in the end, after one more stage. expected: what was predicted before it. facts:
    of the stage's artifact. made: kinds of layers that its model has, and the one before had not.

    A prediction is of the model after all stages to come: where one of these is rolled back, or makes other products of
    what was predicted, nothing is known.
    """
    if not kept:
        return None
    return facts.get(PREDICTED, None if "low_rank" in made else expected)


def _doubts(evaluation: Evaluation) -> tuple[str, ...]:
    """Sentences about a measurement that was not alone."""
    latency = evaluation.latency
    assert latency is not None
    told = []
    found = disturbance(latency.foreign_share, evaluation.environment["threads"], "this was timed")
    if latency.disturbed:
        told.append(f"{found or BUSY}; to measure it again, and only that: the same command with {MEASURE_AGAIN}")
    elif found is not None:
        told.append(f"{found}; in no round that counts did what was timed wait for a twentieth of its time")
    if latency.repeated_rounds:
        told.append(f"{latency.repeated_rounds} rounds that others disturbed were thrown away")
    return tuple(told)


def _in_batches(evaluation: Evaluation) -> tuple[str, ...]:
    """A sentence about answers that depend on what else is in a batch."""
    effect = evaluation.batch_effect
    return (told(effect),) if effect is not None and effect.changed else ()


@contextlib.contextmanager
def told_to(tell: Callable[[Row], None], stage: str, metric: Label) -> Iterator[None]:
    """Whatever is raised inside becomes a row with the reason before it goes on its way: a stage may be the user's own,
    and raise anything. A stage that ends the process breaks the run: its exit status is none of ours."""
    started = time.monotonic()
    try:
        yield
    except (Exception, SystemExit) as error:
        tell(_broken_row(stage, metric, _reason(error), time.monotonic() - started))
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
        "missed": (),
        "figures": {},
        "spent": {},
        "tables": (),
        "metric": metric,
    }
    values: dict[str, Any] = {field.name: told.get(field.name) for field in dataclasses.fields(Row)}
    return Row(**values)
