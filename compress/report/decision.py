"""The run's outcome in plain sentences: what was exported and how it compares, or which limit stood in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compress.core.evaluation import BUSY, MEASURE_AGAIN, Disturbance
from compress.core.ledger import Row
from compress.core.metric import ACCURACY, Label
from compress.report import wording
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
    exported, student = summary["exported"], summary["student"]
    row = next((row for row in rows if row.stage == exported["stage"]), None)
    busy = disturbance_of(summary)
    claims = [
        *([] if busy else [_speed(student["speedup"], summary["runtime_label"], wording.at_once(summary))]),
        _metric(student, rows, Label.from_json(summary)) if row is None or not row.missed else _lost(row),
        wording.share_of_bytes(student["size_bytes"], summary["teacher"]["size_bytes"]),
    ]
    headline = _sentence("; ".join([", ".join(claims), *([BUSY] if busy else [])]))
    finding, contradicted = _test_against_limit(student, summary)
    labelled, settled = summary.get("labelled"), proven_by_labels(rows, summary)
    details = [_proof(rows, summary, "The validation split alone leaves it open" if settled else "Unproven")]
    if finding:
        details.append(finding)
    objective = _objective(summary)
    if objective:
        details.insert(0, objective)
    if busy:
        details.append(measure_again(summary))
    if row is not None and row.contradiction is not None:
        details.insert(0, _sentence(row.contradiction))
    if summary["stopped_at"] is not None:
        details.append(f"The run stopped at {summary['stopped_at']}; stages after it did not run.")
    missed = row is not None and misses_limits(row, summary["gates"].get(row.stage))
    if labelled is not None:
        # Where they decide, they are the weightiest.
        details.insert(0 if settled else len(details), labels_sentence(labelled))
        contradicted = contradicted or labelled["outcome"] == "failed"
    elif _labels_would_tell(row, summary) and not missed and not contradicted:
        details.append(FEW_LABELS)
    if settled:
        headline += " Proven by labels of further texts."
    elif row is not None and not exported["proven"]:
        reason = "it failed its gate" if row.verdict == "failed" else "measured, it misses its limits"
        headline += f" Unproven: {reason}." if missed else " Unproven."
    tone = "bad" if contradicted or missed else "good" if settled or exported["proven"] else "unsure"
    badge = "proven on validation" if exported["proven"] else "proven by labels" if settled else "unproven"
    return Decision(headline, tone, tuple(details), badge)


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
    return bool(_accuracy_shortfall(row, gate)) and not row.missed and not _speed_shortfall(row, gate)


def _labels_would_tell(row: Row | None, summary: Mapping[str, Any]) -> bool:
    """Whether the metric is one that few labels decide, and a split left it undecided."""
    if row is None or row.metric != ACCURACY or row.stage not in summary["gates"]:
        return False
    limit, test = -summary["gates"][row.stage]["max_accuracy_drop"], summary["student"]["test"]
    ends = [finite_interval(row.interval), None if test is None else finite_interval(test["interval"])]
    return any(interval is not None and interval[0] <= limit < interval[1] for interval in ends)


def disturbance_of(summary: Mapping[str, Any]) -> Disturbance | None:
    """Why the student has no speed though it was timed, where a busy machine kept it from being measured. Summaries of
    an earlier release do not say."""
    told = (summary["student"] or {}).get("disturbance")
    return None if told is None else Disturbance.from_json(told)


def measure_again(summary: Mapping[str, Any]) -> str:
    """What measures again what was disturbed."""
    command = summary.get("command")
    again = f"{command} {MEASURE_AGAIN}" if command and MEASURE_AGAIN not in command else command or MEASURE_AGAIN
    return f"To measure again what was disturbed, and only that, once the machine is quiet: {again}"


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


def limits_missed(rows: Sequence[Row], summary: Mapping[str, Any]) -> str | None:
    """Which limits the exported model missed, why it is exported all the same, and how to have it otherwise; None where
    it does not, as far as was measured."""
    row = next((row for row in rows if summary["exported"] and row.stage == summary["exported"]["stage"]), None)
    if row is None or not misses_limits(row, summary["gates"].get(row.stage)):
        return None
    later = [other.stage for other in rows[rows.index(row) + 1 :] if other.decision != "keep"]
    undone = f", and what was made of it ({', '.join(later)}) did not pass either" if later else ""
    return (
        f"the exported model missed its limits: {shortfall(row, summary['gates'].get(row.stage))}. It is exported "
        f"because gates.{row.stage}.on_failure is warn{undone}. To have nothing exported that misses them: "
        f"gates.{row.stage}.on_failure=roll_back."
    )


def misses_limits(row: Row, gate: Mapping[str, Any] | None) -> bool:
    """Whether a stage failed its gate, or what was measured of it lies outside of its limits, be it by chance."""
    if row.verdict == "failed" or gate is None:
        return row.verdict == "failed"
    difference, speedup, least = finite(row.difference), finite(row.speedup), gate["min_speedup"]
    inaccurate = difference is not None and difference < -gate["max_accuracy_drop"]
    return inaccurate or (None not in (speedup, least) and speedup < least)


def shortfall(row: Row, gate: Mapping[str, Any] | None) -> str:
    """Which limit a stage missed and by how much; its recorded reasons where the limits or numbers are not known."""
    found = (
        list(row.missed)
        if gate is None
        else [*row.missed, *_accuracy_shortfall(row, gate), *_speed_shortfall(row, gate)]
    )
    reasons = "; ".join(found) or "; ".join(row.reasons) or "no reason was recorded"
    return f"at stage {row.stage}, {'it broke: ' if row.verdict == 'error' else ''}{reasons}"


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


def _accuracy_shortfall(row: Row, gate: Mapping[str, Any]) -> list[str]:
    difference, interval = finite(row.difference), finite_interval(row.interval)
    limit, title, unit = -gate["max_accuracy_drop"], row.metric.title, row.metric.unit
    if difference is None:
        return []

    if unit.kind == "ratio":
        return _ratio_shortfall(difference, interval, limit, row.metric)

    def told(missing: float) -> str:
        return wording.counted(wording.amount(-missing, unit, DECIMALS), unit)

    if difference < limit:
        return [
            f"{title} fell {told(limit - difference)} below its limit "
            f"(measured {wording.difference(difference, unit, DECIMALS)}, "
            f"limit {wording.difference(limit, unit, DECIMALS)})"
        ]
    if interval is not None and interval[0] <= limit:
        return [
            f"{title} is not shown to stay within its limit: the interval reaches down to "
            f"{wording.difference(interval[0], unit, DECIMALS)}, {told(limit - interval[0])} below "
            f"{wording.difference(limit, unit, DECIMALS)}"
        ]
    return []


def _ratio_shortfall(difference: float, ends: tuple[float, float] | None, limit: float, metric: Label) -> list[str]:
    """Of a number that grows as things get worse, such as a perplexity."""

    def told(number: float) -> str:
        return wording.difference(number, metric.unit, DECIMALS)

    if difference < limit:
        measured = f"measured {told(difference)} times the teacher's, limit {told(limit)}"
        return [f"{metric.title} rose above its limit ({measured})"]
    if ends is not None and ends[0] <= limit:
        return [
            f"{metric.title} is not shown to stay within its limit: the interval reaches up to {told(ends[0])} "
            f"times the teacher's, the limit is {told(limit)}"
        ]
    return []


def _speed_shortfall(row: Row, gate: Mapping[str, Any]) -> list[str]:
    speedup, interval, limit = finite(row.speedup), finite_interval(row.speedup_interval), gate["min_speedup"]
    if row.disturbance is not None and limit is not None:
        return [f"{row.disturbance.told}, so whether it reaches its limit of {three_digits(limit)} is not known"]
    if speedup is None or limit is None:
        return []
    if speedup < limit:
        return [
            f"the speed-up is {limit - speedup:.{DECIMALS}f} short of its limit "
            f"(measured {three_digits(speedup)}, limit {three_digits(limit)})"
        ]
    if interval is not None and interval[0] < limit:
        return [
            f"the speed-up is not shown to reach its limit: the interval reaches down to {three_digits(interval[0])}, "
            f"{limit - interval[0]:.{DECIMALS}f} short of {three_digits(limit)}"
        ]
    return []


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


def _proof(rows: Sequence[Row], summary: Mapping[str, Any], undecided: str) -> str:
    """undecided: what a split is called that does not decide."""
    stage = summary["exported"]["stage"]
    gate = summary["gates"].get(stage)
    row = next((row for row in rows if row.stage == stage), None)
    powered = None if row is None else row.prediction_powered
    count = f"{summary['examples']['validation']:,} validation examples"
    if powered is not None and powered.refused is None:
        count += f" and {powered.texts:,} texts without labels"
    if summary["exported"]["proven"]:
        metric = Label.from_json(summary)
        limit = "" if gate is None else f" of {_limit(gate, metric)}"
        return f"Proven: {count} place the whole interval {_sides(metric)[0]} the {metric.title} limit{limit}."
    reason = "" if row is None else f" {_sentence(shortfall(row, gate))}"
    if row is not None and misses_limits(row, gate):
        return f"Unproven: the model misses its limits.{reason}"
    if summary["doubts"]:
        return f"Unproven: {'; '.join(summary['doubts'])}."
    busy = disturbance_of(summary)
    if busy is not None and row is not None and row.verdict == "passed":
        metric = Label.from_json(summary)
        limit = "" if gate is None else f" of {_limit(gate, metric)}"
        return (
            f"Unproven: {busy.told}. The {metric.title} is shown to stay within its limit: {count} place the whole "
            f"interval {_sides(metric)[0]} the limit{limit}."
        )
    return f"{undecided}: {count} do not show that the model stays within its limits.{reason}"


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
