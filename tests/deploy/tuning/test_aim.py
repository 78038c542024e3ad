"""Better means shown to be better: intervals by hand."""

from __future__ import annotations

import dataclasses

import pytest

from compress.core.errors import InputError
from compress.deploy.settings import Batching, OnnxServing, Settings
from compress.deploy.tuning.aim import Aim, Measured, choose, compare

START = Settings(session=OnnxServing.usual(2, pinned=False), batching=Batching(batch_size=1, padding="longest"))
LEAST = Aim(slo_ms=None, quantile=0.95)


def measured(*launches: float, calls: int = 4, examples: int = 4, batch_size: int = 1) -> Measured:
    """Milliseconds of a call in each launch, of two rounds."""
    settings = dataclasses.replace(START, batching=Batching(batch_size=batch_size, padding="longest"))
    rounds = tuple((ms,) * calls for ms in launches for _ in range(2))
    return Measured(settings=settings, rounds=rounds, launches=len(launches), examples=examples)


def test_throughput_and_latency() -> None:
    one = measured(2.0, 2.0, 4.0, calls=4, examples=32)
    # Four calls, of a median of 2 ms each: 32 examples in 8 ms.
    assert one.throughput == 4000
    assert (one.latency_ms(0.5), one.latency_ms(0.99)) == (2.0, 4.0)


def test_what_is_clearly_faster_is_taken() -> None:
    before, faster, fastest = measured(2.0, 2.02, 2.0), measured(1.6, 1.62, 1.6), measured(1.0, 1.01, 1.0)
    taken, compared = choose(before, [faster, fastest], LEAST, 0.95)
    assert taken is fastest
    assert [round(one.ratio, 2) for one in compared] == [1.25, 2.0]


def test_what_is_not_shown_to_be_faster_is_not() -> None:
    # One per cent faster in the mean, and launches differ by more.
    before, other = measured(2.0, 2.2, 2.1), measured(2.05, 2.1, 2.08)
    taken, (compared,) = choose(before, [other], LEAST, 0.95)
    assert compared.interval[0] < 1 < compared.interval[1]
    assert taken is before


def test_several_alternatives_need_more() -> None:
    # Logarithms of ratios .04, .05, .06: 5% +- 2.92 * .01 / sqrt(3) alone, and +- 6.96 * .01 / sqrt(3) among five.
    before = measured(1.0, 1.0, 1.0)
    slightly = measured(0.96079, 0.95123, 0.94176)
    alone = compare(before, slightly, 0.95)
    assert alone.interval == pytest.approx((1.0337, 1.0692), abs=1e-3)
    among = compare(before, slightly, 0.99)
    assert among.interval == pytest.approx((1.0099, 1.0944), abs=1e-3)
    slower = [measured(2.0, 2.0, 2.0)] * 24
    _, compared = choose(before, [slightly, *slower], LEAST, 0.95)
    assert compared[0].interval[0] < 1


def test_faster_in_a_second_and_too_slow_for_a_call() -> None:
    aim = Aim(slo_ms=10, quantile=0.95)
    before = measured(4.0, 4.0, 4.0, calls=4, examples=4)
    slow = measured(12.0, 12.0, 12.0, calls=1, examples=4, batch_size=4)
    taken, (compared,) = choose(before, [slow], aim, 0.95)
    assert (taken, round(compared.ratio, 2)) == (before, 1.33)
    quick = measured(9.0, 9.0, 9.1, calls=1, examples=4, batch_size=4)
    assert choose(before, [slow, quick], aim, 0.95)[0] is quick
    # 9.0 ms are within 10, and not within nine tenths less.
    assert choose(before, [quick], aim, 0.85)[0] is before


def test_what_keeps_the_latency_is_better_than_what_misses_it() -> None:
    aim = Aim(slo_ms=3, quantile=0.95)
    before, within, other = measured(4.0, 4.1, 4.0), measured(2.5, 2.8, 2.5), measured(3.5, 3.5, 3.5)
    assert choose(before, [other, within], aim, 0.95)[0] is within
    # All miss it: the nearest.
    assert choose(before, [other], aim, 0.95)[0] is other


@pytest.mark.parametrize(
    ("slo", "quantile", "message"),
    [
        (0, 0.95, "--slo-ms is 0; it must be greater than 0"),
        (float("nan"), 0.95, "--slo-ms is nan; it must be finite"),
        (20, 1, r"--quantile is 1; it must lie in \(0, 1\)"),
        (20, 0, r"--quantile is 0; it must lie in \(0, 1\)"),
    ],
)
def test_an_aim_that_is_none(slo: float, quantile: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Aim(slo_ms=slo, quantile=quantile)
