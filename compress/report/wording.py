"""Measured numbers as text. A value that is missing or not a number reads as `-`, never as zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from compress.core.blame import Advice, Blame, Restored, Slice
from compress.core.evaluation import BUSY, PredictionPowered
from compress.core.fact_table import Kind
from compress.core.ledger import Row
from compress.core.metric import ACCURACY, Label, Unit

MISSING = "-"
# In the place of a number that a busy machine kept from being measured.
BUSY_CELL = "busy"
# Of percentages and points on the pages; the terminal shows fewer.
DECIMALS = 2
NAMED = 3
# A part that repairs less than this is not worth a name.
LEAST_RECOVERED = 0.05

# What figures are called in words; others as they are named.
_FIGURES = {
    "f1_macro": "macro F1",
    "matthews_correlation": "Matthews' correlation",
    "top_5_accuracy": "top-5 accuracy",
    "pearson_correlation": "Pearson's correlation",
    "mean_absolute_error": "mean absolute error",
    "mean_reciprocal_rank": "mean reciprocal rank",
    "ndcg_of_any_order": "nDCG@10 of a random order",
    "choices_right": "share of choices right",
    "choices_right_against_teacher": "share of choices right minus the teacher's",
    "all_classes_right": "share with all classes right",
    "tokens_against_teacher": "tokens for the same text, times the teacher's",
}

# How the names of the ends of a figure's interval end.
ENDS = ("_lower", "_upper")

_SHARES = {
    2: "half",
    3: "one third",
    4: "one quarter",
    5: "one fifth",
    6: "one sixth",
    8: "one eighth",
    10: "one tenth",
}


def finite(value: float | None) -> float | None:
    """`value`, or None where it is missing, infinite or not a number."""
    return value if value is not None and math.isfinite(value) else None


def finite_interval(interval: Sequence[float] | None) -> tuple[float, float] | None:
    """The two ends, or None where either is missing, infinite or not a number."""
    if interval is None or len(interval) != 2 or any(finite(end) is None for end in interval):
        return None
    return (interval[0], interval[1])


def percent(fraction: float | None, decimals: int) -> str:
    """A fraction as a percentage: 0.912 reads `91.2%`."""
    return MISSING if finite(fraction) is None else f"{fraction:.{decimals}%}"


def points(fraction: float | None, decimals: int) -> str:
    """A difference of fractions in points, signed: -0.004 reads `-0.4`, and what rounds to zero reads `0.0`."""
    fraction = finite(fraction)
    if fraction is None:
        return MISSING
    rounded = round(100 * fraction, decimals)
    return f"{rounded:+.{decimals}f}" if rounded else f"{0:.{decimals}f}"


def value(number: float | None, unit: Unit, decimals: int) -> str:
    """A metric's value: a share as a percentage, `91.2%`; a plain one with two decimals more, `0.871`; of a ratio the
    number itself, such as a perplexity, with three digits."""
    if number is None or not math.isfinite(number) or unit.kind == "share":
        return percent(number, decimals)
    return three_digits(math.exp(-number)) if unit.kind == "ratio" else f"{number:.{decimals + 2}f}"


def difference(number: float | None, unit: Unit, decimals: int) -> str:
    """A difference of values: of shares in points, `-0.4`; of plain ones signed, with two decimals more; of a ratio as
    the quotient of the two numbers, `1.021`."""
    if number is None or not math.isfinite(number) or unit.kind == "share":
        return points(number, decimals)
    return f"{math.exp(-number):.{decimals + 2}f}" if unit.kind == "ratio" else f"{number:+.{decimals + 2}f}"


def difference_with_interval(number: float | None, interval: Sequence[float] | None, unit: Unit, decimals: int) -> str:
    """A difference with its interval: `-0.4 [-1.1, +0.2]`. The smaller number comes first."""
    ends = finite_interval(interval)
    text = difference(number, unit, decimals)
    if ends is None:
        return text
    low, high = reversed(ends) if unit.kind == "ratio" else ends
    return f"{text} [{difference(low, unit, decimals)}, {difference(high, unit, decimals)}]"


def counted(text: str, unit: Unit) -> str:
    """With what it is counted in: `-0.4 points`; a ratio is so many times the other number."""
    return f"{text} {unit.noun}" if unit.noun else f"{text} times" if unit.kind == "ratio" else text


def heading(words: str, unit: Unit) -> str:
    """A column of differences: `against the teacher, points`."""
    return f"{words}, {unit.noun}" if unit.noun else f"{words}, times" if unit.kind == "ratio" else words


def amount(number: float, unit: Unit, decimals: int) -> str:
    """How large a difference is, without a sign: `0.40`; of a ratio, as `difference`."""
    if unit.kind == "ratio":
        return difference(number, unit, decimals)
    return f"{100 * abs(number):.{decimals}f}" if unit.kind == "share" else f"{abs(number):.{decimals + 2}f}"


def on_axis(number: float, unit: Unit) -> float:
    """A difference as an axis counts it: points of shares, everything else as it is."""
    return 100 * number if unit.kind == "share" else number


def capitalized(text: str) -> str:
    """With a large first letter; the others stay as they are, and so does a name such as nDCG."""
    if any(letter.isupper() for letter in text.partition(" ")[0][1:]):
        return text
    return f"{text[:1].upper()}{text[1:]}"


def three_digits(value: float | None) -> str:
    """Three significant digits without an exponent: `117`, `19.1`, `8.30`, `0.0420`."""
    value = finite(value)
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    return f"{rounded:.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def latency(milliseconds_p50: float | None, milliseconds_p90: float | None) -> str:
    """Two percentiles of milliseconds per example: `8.30 / 9.10`."""
    if finite(milliseconds_p50) is None and finite(milliseconds_p90) is None:
        return MISSING
    return f"{three_digits(milliseconds_p50)} / {three_digits(milliseconds_p90)}"


def at_once(summary: Mapping[str, Any]) -> int:
    """How many examples were timed together. Summaries of an earlier release do not say: one."""
    return int(summary.get("at_once") or 1)


def at_once_words(summary: Mapping[str, Any]) -> str:
    """`one example at a time`, or `32 examples at a time`."""
    count = at_once(summary)
    return "one example at a time" if count == 1 else f"{count} examples of like length at a time"


def factor_with_interval(factor: float | None, interval: Sequence[float] | None) -> str:
    """A ratio with its interval: `6.80 [6.51, 7.10]`."""
    ends = finite_interval(interval)
    text = three_digits(factor)
    return text if ends is None else f"{text} [{three_digits(ends[0])}, {three_digits(ends[1])}]"


def speedup_of(row: Row, *, interval: bool = True) -> str:
    """The speed-up of a stage's model: `6.80 [6.51, 7.10]`, and `busy` where a busy machine kept it from being
    measured."""
    return speedup_or_busy(row.speedup, row.speedup_interval if interval else None, busy=row.disturbance is not None)


def speedup_or_busy(speedup: float | None, interval: Sequence[float] | None, *, busy: bool) -> str:
    """The same of what is not a row. busy: whether the machine was."""
    return BUSY_CELL if busy and finite(speedup) is None else factor_with_interval(speedup, interval)


def megabytes(size_bytes: float | None) -> str:
    """Bytes in units of 1,000,000 bytes."""
    size_bytes = finite(size_bytes)
    return MISSING if size_bytes is None else three_digits(size_bytes / 1e6)


def share_of_bytes(part: float, whole: float) -> str:
    """`part` against `whole`, in words where a simple fraction comes within 4 %: `about one fifth of the bytes`."""
    ratio = part / whole
    for divisor, words in _SHARES.items():
        if abs(ratio * divisor - 1) <= 0.04:
            return f"about {words} of the bytes"
    return f"{ratio:.0%} of the bytes" if ratio <= 1 else f"{three_digits(ratio)} times the bytes"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: `42 s`, `3 min 20 s`, `1 h 05 min`."""
    seconds = finite(seconds)
    if seconds is None:
        return MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def form_words(form: str) -> str:
    """A form of vectors in words."""
    return {"int8": "INT8", "binary": "binary, candidates ranked by the query in float"}.get(form, form)


def figure_name(name: str) -> str:
    """`f1_macro` is `macro F1`."""
    return _FIGURES.get(name, name.replace("_", " "))


def figure(number: float | None) -> str:
    """A figure's value: `0.871`, and `1,250` where decimals say nothing."""
    number = finite(number)
    if number is None:
        return MISSING
    return f"{number:.3f}" if abs(number) < 1000 else f"{number:,.0f}"


def figure_of(figures: Mapping[str, float], name: str) -> str:
    """One of these, with its interval where the next two are its ends: `0.412 [0.380, 0.445]`."""
    text, ends = figure(figures.get(name)), finite_interval([figures.get(name + end, math.nan) for end in ENDS])
    return text if ends is None or text == MISSING else f"{text} [{figure(ends[0])}, {figure(ends[1])}]"


def figure_names(figures: Mapping[str, float]) -> list[str]:
    """Their names, in order, without those of the ends of others' intervals."""
    ends = {name + end for name in figures for end in ENDS}
    return [name for name in figures if name not in ends]


def figures_sentence(figures: Mapping[str, float]) -> str:
    """`macro F1 0.871, Matthews' correlation 0.742`."""
    return ", ".join(f"{figure_name(name)} {figure_of(figures, name)}" for name in figure_names(figures))


def fact(number: str | float | None, kind: Kind) -> str:
    """A value of a table of facts: a share as `6.8%`, milliseconds as `0.165`, a count as it is; "" where there is
    none."""
    if number is None or isinstance(number, str):
        return number or ""
    if kind == "share":
        return percent(number, 1)
    if kind == "milliseconds":
        return f"{number:.3f}"
    return f"{number:,}" if kind == "count" else f"{number:.3g}"


def prediction_powered_sentence(found: PredictionPowered, unit: Unit, decimals: int) -> str:
    """`the 500 labels alone: -0.4 [-1.9, +1.1] points; 12,000 texts without labels make them worth 640 (predictions
    have the weight 0.71)`, or why the labels alone judge."""
    if found.refused is not None:
        alone = f"the {found.labels:,} labels alone do"
        return f"{found.texts:,} texts without labels do not judge, {alone}: {found.refused}"
    alone = counted(difference_with_interval(found.labels_difference, found.labels_interval, unit, decimals), unit)
    return (
        f"the {found.labels:,} labels alone: {alone}; {found.texts:,} texts without labels make them worth "
        f"{found.worth or 0:,} (predictions have the weight {found.weight or 0:.2f})"
    )


def verdict_words(row: Row) -> str:
    """The verdict and what the run did about it: `passed`, `unproven`, `failed, rolled back`. Of a model whose speed a
    busy machine kept from being measured `passed, speed open`: what passed is its metric."""
    verdict = "unproven" if row.verdict == "inconclusive" else row.verdict
    if row.verdict == "passed" and row.disturbance is not None:
        verdict = "passed, speed open"
    if row.decision == "roll_back":
        return f"{verdict}, rolled back"
    if row.decision == "stop":
        return f"{verdict}, stopped"
    return f"{verdict}, kept" if row.verdict == "failed" else verdict


def verdict_tone(row: Row) -> str:
    """How a verdict looks: `good`, `bad`, `unsure` or `plain`."""
    if row.verdict == "passed" and row.disturbance is not None:
        return "unsure"
    return {"passed": "good", "failed": "bad", "error": "bad", "inconclusive": "unsure"}.get(row.verdict, "plain")


def blame_sentences(blame: Blame, metric: Label = ACCURACY) -> list[str]:
    """What was found out about a stage that missed its limit: where the metric fell, which parts did it, and what is
    not known."""
    told = []
    if blame.slices:
        told.append(_slices_sentence(blame, metric.unit))
    if blame.examples and blame.restored:
        told.append(_parts_sentence(blame, metric))
    return [*told, *(f"{capitalized(note)}." for note in blame.notes)]


def advice_sentence(advice: Advice, row: Row) -> str:
    """What the advised settings are expected to cost and to bring."""
    reached = three_digits(row.speedup)
    if advice.speedup is None:
        cost = "what it costs in speed is not known"
        if advice.at_least is not None:
            cost += f": at least {three_digits(advice.at_least)} times the teacher's remain"
    elif row.disturbance is not None:
        cost = f"expected speed-up {three_digits(advice.speedup)}, a prediction; {BUSY}"
    else:
        cost = f"expected speed-up {three_digits(advice.speedup)} instead of {reached}, a prediction"
    if advice.recovered is None:
        return f"{cost}; what it brings was not measured"
    return f"{cost}; on the sample it took away {advice.recovered:.0%} of the distance that the stage added"


def slice_words(entry: Slice, unit: Unit) -> str:
    """`class tech -2.1 [-3.2, -1.0] on 640 examples`."""
    loss = difference_with_interval(entry.difference, entry.interval, unit, 1)
    return f"{entry.by} {entry.name} {loss} on {entry.examples:,} examples"


def _slices_sentence(blame: Blame, unit: Unit) -> str:
    corrected = f"{blame.compared} classes and lengths compared, with Holm's correction"
    worst = [entry for entry in blame.slices if entry.shown][:NAMED]
    if not worst:
        return (
            f"No class or length is shown to be worse than the teacher's ({corrected}); "
            f"{heading('the lowest measured', unit).replace(', ', ', in ')}: {slice_words(blame.slices[0], unit)}."
        )
    words = "; ".join(slice_words(entry, unit) for entry in worst)
    return f"{heading('Shown to be worse than the teacher', unit).replace(', ', ', in ')}: {words} ({corrected})."


def _parts_sentence(blame: Blame, metric: Label) -> str:
    sample = f"on {blame.examples} validation examples"
    named = [part for part in blame.restored if part.recovered >= LEAST_RECOVERED][:NAMED]
    if not named:
        return (
            f"No part alone did it: put back to what it was, none brings the answers nearer to the teacher's, {sample}."
        )
    return (
        "Of the distance from the teacher's answers that the stage added (KL of the logits; of vectors one minus their "
        f"cosine), putting one part back to what it was takes away, {sample}: "
        f"{'; '.join(_part_words(part, metric) for part in named)}."
    )


def _part_words(part: Restored, metric: Label) -> str:
    change = difference(part.score_change, metric.unit, 1)
    same = change == difference(0.0, metric.unit, 1)
    told = "" if same else f" ({metric.title} there {counted(change, metric.unit)})"
    return f"{part.part} {min(part.recovered, 1):.0%}{told}"
