"""A model on the way, and its line of the ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from compress.core.blame import Blame
from compress.core.errors import CompressError, StageError
from compress.core.evaluation import Comparison, Evaluation
from compress.core.fact_table import FactTable
from compress.core.gate import Verdict
from compress.core.ledger import Row
from compress.core.metric import Label
from compress.core.secrets import masked
from compress.measure.batch_effect import told
from compress.measure.bystanders import disturbance
from compress.measure.statistics import percentiles
from compress.pipeline.store import Entry


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
    seconds: float,
    blame: Blame | None = None,
) -> Row:
    """The line of a step that was measured. metric: what its numbers are of. comparison, verdict: none of the teacher.
    seconds: since the stage began. blame: why it missed its limits, where it did."""
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
    )


def _doubts(evaluation: Evaluation) -> tuple[str, ...]:
    """Sentences about a measurement that was not alone."""
    assert evaluation.latency is not None
    found = disturbance(evaluation.latency.foreign_share, evaluation.environment["threads"], "this was timed")
    way_out = "to measure again on an idle machine, remove the folder evaluations from the store"
    return () if found is None else (f"{found}: times and speed-up may be far off; {way_out}",)


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
        "tables": (),
        "metric": metric,
    }
    values: dict[str, Any] = {field.name: told.get(field.name) for field in dataclasses.fields(Row)}
    return Row(**values)
