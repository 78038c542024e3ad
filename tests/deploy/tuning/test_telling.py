"""Sentences say what was found, and not more."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compress.core.evaluation import BatchEffect
from compress.deploy.export import read_export
from compress.deploy.settings import Batching, OnnxServing, Settings
from compress.deploy.tuning import telling
from compress.deploy.tuning.aim import Aim, Compared, Measured
from compress.deploy.tuning.forecast import Costs, Forecast
from compress.deploy.tuning.page import front_of
from compress.deploy.tuning.search import Step
from compress.deploy.tuning.tune import Outcome

START = Settings(session=OnnxServing.usual(2, pinned=False), batching=Batching(batch_size=1, padding="longest"))
COSTS = Costs(found=2.0, read=30.0, computed=1000.0)


def measured(settings: Settings, ms: float, examples: int = 8) -> Measured:
    calls = examples // settings.batching.batch_size
    return Measured(settings=settings, rounds=((ms,) * calls,) * 4, launches=2, examples=examples)


def outcome(export: Path, *, changed: int, batches: bool, batch_size: int) -> Outcome:
    chosen = Settings(
        session=dataclasses.replace(START.session, threads=1, spinning=False),
        batching=Batching(batch_size=batch_size, padding="longest"),
    )
    default, taken = measured(START, 2.0), measured(chosen, 3.0)
    compared = Compared(taken, 2.5, (2.25, 2.75))
    return Outcome(
        export=read_export(export),
        aim=Aim(slo_ms=2.5, quantile=0.9),
        examples=8,
        start=START,
        settings=chosen,
        default=default,
        chosen=taken,
        steps=(Step("threads", default, (compared,), taken),),
        confirmed=compared,
        reason="it is",
        effect=BatchEffect(rows=128, batch=32, largest_difference=0.25 if changed else 0.0, changed=changed),
        batches_asked=batches,
        costs=COSTS,
        forecasts=(Forecast(100_000, 0.0, 1000.0),),
        foreign=None,
    )


def test_the_headline_names_what_differs_and_by_how_much(export_copy: Path) -> None:
    assert telling.headline(outcome(export_copy, changed=0, batches=False, batch_size=4)) == (
        "Threads 1 instead of 2, batch size 4 instead of 1, spinning off instead of on: 2.50 [2.25, 2.75] times as "
        "many examples per second as the default."
    )


def test_what_a_busy_machine_showed_is_no_headline(export_copy: Path) -> None:
    found = dataclasses.replace(outcome(export_copy, changed=0, batches=False, batch_size=4), busy=True)
    assert telling.headline(found) == (
        "Threads 1 instead of 2, batch size 4 instead of 1, spinning off instead of on: speed not measured: the "
        "machine was busy. Run compress-tune again once it is quiet."
    )


def test_what_batches_do_is_said_as_it_is(export_copy: Path) -> None:
    found = {
        (changed, batches, size): telling.batches(
            outcome(export_copy, changed=changed, batches=batches, batch_size=size)
        ).partition("alone, and outputs differ by up to ")[2]
        for changed, batches, size in ((0, False, 4), (0, False, 1), (3, False, 1), (3, True, 4))
    }
    held = "0: answers do not depend on it. What is asked for together is computed"
    assert found == {
        (0, False, 4): f"{held} 4 at a time.",
        (0, False, 1): f"{held} one by one, which is faster here.",
        (3, False, 1): "0.25: one example is computed at a time. --batches tries batches all the same, at that cost.",
        (3, True, 4): "0.25. --batches was given, so batches were tried all the same: that is their cost.",
    }


def test_a_row_says_what_is_too_slow(export_copy: Path) -> None:
    (row,) = telling.rows(outcome(export_copy, changed=0, batches=False, batch_size=4))
    assert (row.before, row.tried, row.against) == ("2", "1", "2.50 [2.25, 2.75]")
    # Three milliseconds, and two and a half were asked for; two calls for eight examples.
    assert (row.latency_ms, row.meets, row.throughput) == (3.0, False, 8 / 0.006)


def test_nobody_turns_a_cache_on_for_nothing() -> None:
    assert telling.cache_sentence([Forecast(100_000, 0.0, 1000.0)], COSTS).startswith("A cache would bring nothing")
    told = telling.cache_sentence(
        [Forecast(100_000, 0.1, 900.0), Forecast(1_000_000, 0.5, 500.0), Forecast(10_000_000, 0.5, 500.0)], COSTS
    )
    assert told == (
        "A cache of 1 MB would answer 50% of this sample, which begins without any: 500 instead of 1000 microseconds "
        "for an example, 2.00 times as fast. It is off unless asked for: Predictor(EXPORT, cache_bytes=1000000)."
    )


def test_the_front_is_what_no_other_beats_at_both() -> None:
    def point(ms: float, size: int) -> Measured:
        return measured(dataclasses.replace(START, batching=Batching(batch_size=size, padding="longest")), ms)

    # 1000, 1600, 1000 and 2000 examples per second.
    quick, middle, beaten, large = point(1.0, 1), point(2.5, 4), point(4.0, 4), point(4.0, 8)
    assert front_of([large, beaten, middle, quick], 0.95) == [quick, middle, large]
