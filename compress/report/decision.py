"""The run's outcome in plain sentences: what was exported and how it compares, or which limit stood in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compress.core.evaluation import BUSY, Disturbance
from compress.core.ledger import Row
from compress.core.metric import ACCURACY, Label
from compress.report import wording
from compress.report.disturbed import disturbance_of, measure_again
from compress.report.limits import accuracy_shortfall, misses_limits, shortfall, speed_shortfall
from compress.report.wording import DECIMALS, finite, finite_interval, three_digits

LEAST_SHARE_OF_OBJECTIVE = 0.95
FEW_LABELS = (
    "More text decides it with few labels: those of texts that teacher and student answer differently "
    "(compress-label --help)."
)


@dataclass(frozen=True)
class Decision:
    """headline: one sentence, and `Unproven` where it is. details: further sentences, the weightiest first.

    tone: `good` (proven), `unsure` (unproven) or `bad` (nothing exported, a failed gate, a test split or labels of
    further texts against it). badge: the outcome in a word or three.
    """

    headline: str
    tone: str
    details: tuple[str, ...]
    badge: str = "nothing exported"


def decide(rows: Sequence[Row], summary: Mapping[str, Any]) -> Decision:
    """Put the run's outcome in words. `rows` and `summary` are those of `write_page`."""
    if summary["exported"] is None:
        return _nothing_exported(rows, summary)
    found = _Exported(rows, summary)
    return Decision(_headline(found), _tone(found), tuple(_details(found)), _badge(found))


@dataclass(frozen=True)
class _Exported:
    """What the run says of the model that it exported."""

    rows: Sequence[Row]
    summary: Mapping[str, Any]

    @property
    def proven(self) -> bool:
        """Whether the validation split shows that it is within its limits."""
        return bool(self.summary["exported"]["proven"])

    @property
    def row(self) -> Row | None:
        """Of the stage that made it."""
        return next((row for row in self.rows if row.stage == self.summary["exported"]["stage"]), None)

    @property
    def gate(self) -> Mapping[str, Any] | None:
        """The limits of that stage."""
        return self.summary["gates"].get(self.summary["exported"]["stage"])

    @property
    def metric(self) -> Label:
        """What it is judged by."""
        return Label.from_json(self.summary)

    @property
    def busy(self) -> Disturbance | None:
        """See `disturbance_of`."""
        return disturbance_of(self.summary)

    @property
    def missed(self) -> bool:
        """Whether it is outside of its limits, as far as was measured."""
        return self.row is not None and misses_limits(self.row, self.gate)

    @property
    def test(self) -> tuple[str, bool]:
        """See `_test_against_limit`."""
        return _test_against_limit(self.summary["student"], self.summary)

    @property
    def labelled(self) -> Mapping[str, Any] | None:
        """The verdict that labels of further texts gave, where somebody labelled some."""
        return self.summary.get("labelled")

    @property
    def settled(self) -> bool:
        """Whether those labels prove what the validation split left open."""
        return proven_by_labels(self.rows, self.summary)

    @property
    def contradicted(self) -> bool:
        """Whether the test split, or labels of further texts, speak against it."""
        return self.test[1] or (self.labelled is not None and self.labelled["outcome"] == "failed")


def _headline(found: _Exported) -> str:
    student, summary, row = found.summary["student"], found.summary, found.row
    claims = [
        *([] if found.busy else [_speed(student["speedup"], summary["runtime_label"], wording.at_once(summary))]),
        _metric(student, found.rows, found.metric) if row is None or not row.missed else _lost(row),
        wording.share_of_bytes(student["size_bytes"], summary["teacher"]["size_bytes"]),
    ]
    sentence = _sentence("; ".join([", ".join(claims), *([BUSY] if found.busy else [])]))
    if found.settled:
        return f"{sentence} Proven by labels of further texts."
    if row is None or found.proven:
        return sentence
    reason = "it failed its gate" if row.verdict == "failed" else "measured, it misses its limits"
    return f"{sentence} Unproven: {reason}." if found.missed else f"{sentence} Unproven."


def _tone(found: _Exported) -> str:
    if found.contradicted or found.missed:
        return "bad"
    return "good" if found.settled or found.proven else "unsure"


def _badge(found: _Exported) -> str:
    return "proven on validation" if found.proven else "proven by labels" if found.settled else "unproven"


def _details(found: _Exported) -> Iterator[str]:
    """The weightiest first."""
    summary, row = found.summary, found.row
    told = _told_of_labels(found)
    if told and found.settled:
        yield told
    if row is not None and row.contradiction is not None:
        yield _sentence(row.contradiction)
    yield from filter(None, [_objective(summary), _proof(found), found.test[0]])
    if found.busy:
        yield measure_again(summary)
    if summary["stopped_at"] is not None:
        yield f"The run stopped at {summary['stopped_at']}; stages after it did not run."
    if told and not found.settled:
        yield told


def _told_of_labels(found: _Exported) -> str:
    """What labels of further texts say, or that they would say something."""
    if found.labelled is not None:
        return labels_sentence(found.labelled)
    would_tell = _labels_would_tell(found.row, found.summary)
    return FEW_LABELS if would_tell and not found.missed and not found.contradicted else ""


def proven_by_labels(rows: Sequence[Row], summary: Mapping[str, Any]) -> bool:
    """Whether labels of further texts prove of the exported model what the validation split alone left open, and the
    test split says nothing against it."""
    labelled = summary.get("labelled")
    if labelled is None or labelled["outcome"] != "passed" or _test_against_limit(summary["student"], summary)[1]:
        return False
    row = next((row for row in rows if row.stage == summary["exported"]["stage"]), None)
    return _accuracy_alone_is_open(row, summary)


def labels_sentence(labelled: Mapping[str, Any]) -> str:
    """What labels of further texts said. labelled: as the summary has it."""
    return f"Labels of further texts, where teacher and student differ: {labelled['told']}."


def _accuracy_alone_is_open(row: Row | None, summary: Mapping[str, Any]) -> bool:
    """Whether nothing but too few labels kept a stage from being proven."""
    gate = None if row is None else summary["gates"].get(row.stage)
    if row is None or gate is None or row.verdict != "inconclusive" or summary["doubts"] or row.disturbance is not None:
        return False
    return bool(accuracy_shortfall(row, gate)) and not row.missed and not speed_shortfall(row, gate)


def _labels_would_tell(row: Row | None, summary: Mapping[str, Any]) -> bool:
    """Whether the metric is one that few labels decide, and a split left it undecided."""
    if row is None or row.metric != ACCURACY or row.stage not in summary["gates"]:
        return False
    limit, test = -summary["gates"][row.stage]["max_accuracy_drop"], summary["student"]["test"]
    ends = [finite_interval(row.interval), None if test is None else finite_interval(test["interval"])]
    return any(interval is not None and interval[0] <= limit < interval[1] for interval in ends)


def _objective(summary: Mapping[str, Any]) -> str:
    """What was asked for and what was reached, where a speed was asked for."""
    objective = summary.get("objective")
    if objective and disturbance_of(summary) is not None:
        return f"Asked for: {three_digits(objective['speedup'])} times the teacher's speed; {BUSY}."
    if not objective or not finite(objective["reached"]):
        return ""
    asked, reached = objective["speedup"], objective["reached"]
    if reached >= asked * LEAST_SHARE_OF_OBJECTIVE:
        return f"Asked for: {three_digits(asked)} times the teacher's speed; reached: {three_digits(reached)}."
    return (
        f"{three_digits(asked)} times the teacher's speed was not reached within the limits; the best that was is "
        f"{three_digits(reached)} times."
    )


def _nothing_exported(rows: Sequence[Row], summary: Mapping[str, Any]) -> Decision:
    missed = [row for row in rows if row.verdict in ("failed", "inconclusive", "error")]
    clauses = {row.stage: shortfall(row, summary["gates"].get(row.stage)) for row in missed}
    if not clauses:
        return Decision("Nothing was exported: no stage passed a gate.", "bad", ())
    decisive = summary["stopped_at"] if summary["stopped_at"] in clauses else missed[-1].stage
    others = tuple(_sentence(clause) for stage, clause in clauses.items() if stage != decisive)
    return Decision(f"Nothing was exported: {clauses[decisive]}.", "bad", others)


def _sentence(clause: str) -> str:
    return f"{wording.capitalized(clause)}."


def _speed(speedup: float, runtime: str, at_once: int) -> str:
    runtime = runtime if at_once == 1 else f"{runtime}, in batches of {at_once}"
    if finite(speedup) is None:
        return f"not timed in {runtime}"
    if abs(speedup - 1) <= 0.005:
        return f"as fast as the teacher in {runtime}"
    if speedup < 1:
        return f"{three_digits(1 / speedup)} times slower than the teacher in {runtime}"
    return f"{three_digits(speedup)} times faster than the teacher in {runtime}"


def _metric(student: Mapping[str, Any], rows: Sequence[Row], metric: Label) -> str:
    split, difference, interval = "test", None, None
    if student["test"] is not None:
        difference, interval = student["test"]["difference"], student["test"]["interval"]
    else:
        split = "validation"
        row = next((row for row in rows if row.stage == student["stage"]), None)
        if row is not None:
            difference, interval = row.difference, row.interval
    difference, ends = finite(difference), finite_interval(interval)
    if difference is None:
        return f"{metric.title} not compared on the {split} split"
    text = f"{_gained(difference, metric)} on the {split} split"
    if ends is None:
        return text
    # A ratio falls where a difference rises: the smaller number comes first.
    smaller = reversed(ends) if metric.unit.kind == "ratio" else ends
    low, high = (wording.difference(end, metric.unit, DECIMALS) for end in smaller)
    return f"{text} (interval {low} to {high})"


def _lost(row: Row) -> str:
    """In the place of the metric, which does not see it."""
    return f"not as good: {'; '.join(row.missed)}"


def _gained(difference: float, metric: Label) -> str:
    """`0.40 points less accurate`, and for what has no adjective `entity F1 0.40 points lower`."""
    amount = wording.amount(difference, metric.unit, DECIMALS)
    if metric.unit.kind == "ratio":
        return f"{amount} times the {metric.title}"
    if float(amount) == 0:
        return "as accurate" if metric == ACCURACY else f"the same {metric.title}"
    counted = wording.counted(amount, metric.unit)
    if metric == ACCURACY:
        return f"{counted} {'less' if difference < 0 else 'more'} accurate"
    return f"{metric.title} {counted} {'lower' if difference < 0 else 'higher'}"


def _proof(found: _Exported) -> str:
    """Whether the validation split proves it, and why not where it does not."""
    summary, row, gate, metric = found.summary, found.row, found.gate, found.metric
    count = _counted_examples(found)
    limit = "limit" if gate is None else f"limit of {_limit(gate, metric)}"
    if found.proven:
        return f"Proven: {count} place the whole interval {_sides(metric)[0]} the {metric.title} {limit}."
    reason = "" if row is None else f" {_sentence(shortfall(row, gate))}"
    if found.missed:
        return f"Unproven: the model misses its limits.{reason}"
    if summary["doubts"]:
        return f"Unproven: {'; '.join(summary['doubts'])}."
    if found.busy is not None and row is not None and row.verdict == "passed":
        return (
            f"Unproven: {found.busy.told}. The {metric.title} is shown to stay within its limit: {count} place the "
            f"whole interval {_sides(metric)[0]} the {limit}."
        )
    undecided = "The validation split alone leaves it open" if found.settled else "Unproven"
    return f"{undecided}: {count} do not show that the model stays within its limits.{reason}"


def _counted_examples(found: _Exported) -> str:
    """`2,000 validation examples and 9,000 texts without labels`."""
    powered = None if found.row is None else found.row.prediction_powered
    count = f"{found.summary['examples']['validation']:,} validation examples"
    if powered is None or powered.refused is not None:
        return count
    return f"{count} and {powered.texts:,} texts without labels"


def _sides(metric: Label) -> tuple[str, str]:
    """Where what is within a limit lies, as people read it, and what is not."""
    return ("below", "above") if metric.unit.kind == "ratio" else ("above", "below")


def _limit(gate: Mapping[str, Any], metric: Label) -> str:
    """`-1.00 points`."""
    return wording.counted(wording.difference(-gate["max_accuracy_drop"], metric.unit, DECIMALS), metric.unit)


def _test_against_limit(student: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[str, bool]:
    """What the test split says about the limit that the validation split was judged by, and whether it contradicts."""
    gate, test = summary["gates"].get(student["stage"]), student["test"]
    ends = None if test is None else finite_interval(test["interval"])
    if test is None:
        return "The test split was not used: the numbers come from the split that the gates also used.", False
    if gate is None or ends is None:
        return "", False
    limit = -gate["max_accuracy_drop"]
    count, limit_text = f"{test['examples']:,} unseen examples", _limit(gate, Label.from_json(summary))
    better, worse = _sides(Label.from_json(summary))
    if ends[0] > limit:
        return f"The test split confirms it: on {count} the whole interval lies {better} {limit_text}.", False
    if ends[1] < limit:
        return f"The test split contradicts it: on {count} the whole interval lies {worse} {limit_text}.", True
    return f"The test split alone does not decide it: on {count} the interval includes {limit_text}.", False
