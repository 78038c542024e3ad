"""Where each run of a sweep stands: the model it exported, or how it ended without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from compress.core.ledger import Row
from compress.report import wording
from compress.report.decision import labels_sentence, proven_by_labels
from compress.report.labelled import OUTCOMES
from compress.report.limits import shortfall
from compress.report.sweep.nested import value_at
from compress.report.sweep.runs import Run
from compress.report.wording import finite, finite_interval

# Best first. The tone is the colour; each has a shape of its own on the plots.
TONES = {
    "passed": "good",
    "proven by labels": "good",
    "unproven": "unsure",
    "failed by labels": "bad",
    "failed, kept": "bad",
    "nothing passed": "bad",
    "broke": "bad",
    "refused": "bad",
    "unfinished": "plain",
}
_ENDINGS = {"refused": "refused", "broken": "broke", "lost": "broke"}
_KEPT = {"inconclusive": "unproven", "failed": "failed, kept"}


@dataclass(frozen=True)
class Standing:
    """Where a run stands. Differences are on the scale of the metric's values, against its own teacher on validation.

    status: one of `TONES`. exported: whether there is a model. row: the measured model that stands for the run: the
    exported one; where nothing passed the last one that was measured; None where a run did not come to its end.
    reasons: what stood in the way, in words. labels: what labels of further texts said of the exported model; empty
    where there were none. proven_within: the limit that they prove, of the difference, above 0; None where they do not.
    """

    run: Run
    status: str
    exported: bool
    row: Row | None
    reasons: tuple[str, ...]
    labels: tuple[str, ...] = ()
    proven_within: float | None = None

    @property
    def difference(self) -> float | None:
        """The metric minus the teacher's."""
        return None if self.row is None else finite(self.row.difference)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the difference."""
        return None if self.row is None else finite_interval(self.row.interval)

    @property
    def speedup(self) -> float | None:
        """Times the teacher's speed on the same runtime."""
        return None if self.row is None else finite(self.row.speedup)

    @property
    def speedup_interval(self) -> tuple[float, float] | None:
        """Of the speed-up."""
        ends = None if self.row is None else finite_interval(self.row.speedup_interval)
        return ends if ends is not None and ends[0] > 0 else None

    @property
    def busy(self) -> bool:
        """Whether the speed-up is not known because the machine was busy when it was timed."""
        return self.row is not None and self.row.disturbance is not None

    @property
    def size_bytes(self) -> float | None:
        """Of the file that the runtime loads."""
        return None if self.row is None else finite(self.row.size_bytes)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the run's own teacher."""
        return tuple(value_at(self.run.summary, "doubts") or ())

    @property
    def drawn(self) -> bool:
        """Whether all three numbers were measured."""
        return self.difference is not None and bool(self.speedup) and bool(self.size_bytes)


def standing_of(run: Run) -> Standing:
    """Judge nothing again: say what the run itself recorded."""
    if run.summary is None:
        broke = any(row.verdict == "error" for row in run.rows)
        status = _ENDINGS.get(str(run.ending), "broke" if broke else "unfinished")
        told = () if run.reason is None or broke else (run.reason,)
        return Standing(run, status, False, None, (*_reasons(run), *told) or _unfinished(run))
    stage = value_at(run.summary, "exported", "stage")
    if stage is None:
        last = next((row for row in reversed(run.rows[1:]) if finite(row.difference) is not None), None)
        return Standing(run, "nothing passed", False, last, _reasons(run))
    row = next((row for row in run.rows if row.stage == stage), None)
    if row is None:
        return Standing(run, "broke", False, None, (f"the ledger's line of the exported stage {stage} is lost",))
    doubts = tuple(value_at(run.summary, "doubts") or ())
    # Of a model that did not pass, its own reasons say so.
    open_speed = () if row.disturbance is None or row.verdict != "passed" else (row.disturbance.told,)
    proven = row.verdict == "passed" and not doubts and not open_speed
    status = "passed" if proven else "unproven" if row.verdict == "passed" else _KEPT.get(row.verdict, "failed, kept")
    return _with_labels(Standing(run, status, True, row, (*doubts, *open_speed, *_reasons(run, stage))))


def _with_labels(standing: Standing) -> Standing:
    """With what labels of further texts said after the run: they may prove what it left open, or contradict it."""
    summary, labelled = standing.run.summary, value_at(standing.run.summary, "labelled")
    outcome, told = value_at(labelled, "outcome"), value_at(labelled, "told")
    if summary is None or outcome not in OUTCOMES or not isinstance(told, str):
        return standing
    standing = replace(standing, labels=(labels_sentence({"told": told}),))
    if outcome == "failed":
        return replace(standing, status="failed by labels")
    try:
        proven = proven_by_labels(standing.run.rows, summary)
        limit = float(summary["gates"][summary["exported"]["stage"]]["max_accuracy_drop"]) if proven else None
    except (KeyError, TypeError, ValueError):
        # A summary of another release, or of no run at all.
        return standing
    return standing if limit is None else replace(standing, status="proven by labels", proven_within=limit)


def _reasons(run: Run, exported: str | None = None) -> tuple[str, ...]:
    """What stages missed, but for those that were kept and built upon. exported: the stage whose model was."""
    gates: Mapping[str, Any] = value_at(run.summary, "gates") or {}
    missed = [
        row
        for row in run.rows
        if row.verdict in ("failed", "inconclusive", "error") and (row.decision != "keep" or row.stage == exported)
    ]
    return tuple(f"{wording.verdict_words(row)}: {shortfall(row, gates.get(row.stage))}" for row in missed)


def _unfinished(run: Run) -> tuple[str, ...]:
    done = f"the last finished stage is {run.rows[-1].stage}" if run.rows else "no stage was finished"
    return (f"there is no summary.json: the run was stopped, or is still at work; {done}",)
