"""What was found, in sentences and rows: the same for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.core.evaluation import BUSY
from compress.deploy.predictor import holds, told
from compress.deploy.settings import Settings
from compress.deploy.tuning.aim import Aim, Measured
from compress.deploy.tuning.coordinates import coordinates, describe
from compress.deploy.tuning.forecast import Costs, Forecast
from compress.deploy.tuning.tune import Outcome
from compress.report.wording import factor_with_interval, three_digits

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Row:
    """One alternative that was tried. against: how many times as fast as what there was, with its interval."""

    setting: str
    before: str
    tried: str
    against: str
    latency_ms: float
    throughput: float
    meets: bool
    taken: bool


def headline(outcome: Outcome) -> str:
    """What is served, in a sentence."""
    if outcome.chosen.settings == outcome.start:
        return "The default is served: no setting was shown to be better."
    assert outcome.confirmed is not None
    if outcome.busy:
        return f"{changes(outcome)}: {BUSY}. Run compress-tune again once it is quiet."
    times = factor_with_interval(outcome.confirmed.ratio, outcome.confirmed.interval)
    return f"{changes(outcome)}: {times} times as many examples per second as the default."


def _speed(measured: Measured, aim: Aim) -> str:
    size = measured.settings.batching.batch_size
    p50, most = measured.latency_ms(0.5), measured.latency_ms(aim.quantile)
    return (
        f"{three_digits(measured.throughput)} examples per second; a call of {size} takes {three_digits(p50)} ms "
        f"(median), {three_digits(most)} ms ({aim.quantile:.0%})."
    )


def changes(outcome: Outcome) -> str:
    """Which settings differ from the default's."""
    found = [
        f"{name} {describe(outcome.chosen.settings, name)} instead of {describe(outcome.start, name)}"
        for name in names(outcome.start)
        if describe(outcome.chosen.settings, name) != describe(outcome.start, name)
    ]
    told_all = ", ".join(found)
    return f"{told_all[:1].upper()}{told_all[1:]}"


def details(outcome: Outcome) -> list[str]:
    """What it rests on, and where that ends."""
    aim, chosen, default = outcome.aim, outcome.chosen, outcome.default
    found = [
        f"Asked for: {aim}. Examples: {outcome.examples} of the sample, of its own lengths; what is timed is the whole "
        "of a call, from texts to answers.",
        f"{_speed(chosen, aim)} The default: {_speed(default, aim)}",
        f"Why: {outcome.reason}.",
        batches(outcome),
    ]
    return [*found, *([f"Measure again: {outcome.foreign}."] if outcome.foreign else [])]


def batches(outcome: Outcome) -> str:
    """Whether answers depend on what else is in a batch, and what follows."""
    effect = f"On this sample, {told(outcome.effect)}"
    size = outcome.settings.batching.batch_size
    if holds(outcome.effect):
        what = f"is computed {size} at a time" if size > 1 else "is computed one by one, which is faster here"
        return f"{effect}: answers do not depend on it. What is asked for together {what}."
    if outcome.batches_asked:
        return f"{effect}. --batches was given, so batches were tried all the same: that is their cost."
    return f"{effect}: one example is computed at a time. --batches tries batches all the same, at that cost."


def rows(outcome: Outcome) -> list[Row]:
    """Every alternative, in the order in which they were tried."""
    return [
        Row(
            setting=step.coordinate,
            before=describe(step.before.settings, step.coordinate),
            tried=describe(one.measured.settings, step.coordinate),
            against=factor_with_interval(one.ratio, one.interval),
            latency_ms=one.measured.latency_ms(outcome.aim.quantile),
            throughput=one.measured.throughput,
            meets=outcome.aim.met_by(one.measured),
            taken=one.measured is step.taken,
        )
        for step in outcome.steps
        for one in step.compared
    ]


def cache_sentence(forecasts: Sequence[Forecast], costs: Costs) -> str:
    """Whether a cache would be worth its memory."""
    best = max(forecasts, key=lambda one: (one.hit_rate, -one.most_bytes))
    if best.hit_rate == 0:
        return (
            "A cache would bring nothing: no example of the sample is asked twice. (Give them as they are asked, with "
            "their repeats.)"
        )
    gain = costs.computed / best.mean_us
    return (
        f"A cache of {best.most_bytes / 1e6:g} MB would answer {best.hit_rate:.0%} of this sample, which begins "
        f"without any: {best.mean_us:.0f} instead of {costs.computed:.0f} microseconds for an example, {gain:.2f} "
        "times as fast. "
        f"It is off unless asked for: Predictor(EXPORT, cache_bytes={best.most_bytes})."
    )


def names(settings: Settings) -> list[str]:
    """The coordinates that these settings have."""
    every = [one.name for one in coordinates(processors=1, largest_batch=1)]
    return every if settings.session.name == "onnxruntime" else every[:3]


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The decision, what was tried, and the cache."""
    from rich.table import Table

    console.print(headline(outcome), style="bold")
    for sentence in details(outcome):
        console.print(sentence)
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "was", "tried", "times as fast", f"{outcome.aim.quantile:.0%}, ms", "per second", ""):
        table.add_column(name, no_wrap=True)
    for row in rows(outcome):
        numbers = (row.against, three_digits(row.latency_ms), three_digits(row.throughput))
        taken = "taken" if row.taken else "" if row.meets else "too slow"
        table.add_row(row.setting, row.before, row.tried, *numbers, taken)
    console.print(table)
    console.print(cache_sentence(outcome.forecasts, outcome.costs))
