"""What two series of one model say about the timer, worked out by hand."""

from __future__ import annotations

import pytest

from compress.cli.doctor.noise import describe_noise, timer_step_ns
from compress.core.evaluation import Latency


def test_two_equal_series_say_no_difference() -> None:
    noise = describe_noise(Latency(rounds=((1.0, 2.0),) * 4, baseline_rounds=((1.0, 2.0),) * 4))
    assert (noise.ratio, noise.interval, noise.drift, noise.spread) == (1.0, (1.0, 1.0), 1.0, 1.0)
    assert noise.milliseconds == 1.5


def test_the_second_is_twice_as_fast_and_the_machine_slows_down() -> None:
    rounds = ((1.0,), (1.0,), (1.5,), (1.5,))
    baseline = ((2.0,), (2.0,), (3.0,), (3.0,))
    noise = describe_noise(Latency(rounds=rounds, baseline_rounds=baseline))
    assert noise.ratio == 2.0
    assert noise.interval == (2.0, 2.0)
    # (1.5 + 3) / (1 + 2)
    assert noise.drift == pytest.approx(1.5)
    # Of each: p50 = 1.25 and 2.5, p90 = 1.5 and 3.
    assert noise.spread == pytest.approx(1.2)


def test_rounds_that_others_disturbed() -> None:
    rounds = ((1.0,),) * 4
    known = describe_noise(Latency(rounds=rounds, baseline_rounds=rounds, disturbed_rounds=1))
    unknown = describe_noise(Latency(rounds=rounds, baseline_rounds=rounds))
    assert (known.disturbed, unknown.disturbed) == (0.25, None)


def test_the_clock_goes_on() -> None:
    assert timer_step_ns(tries=10) > 0
