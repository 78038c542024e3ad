"""Times foreseen from earlier ones, in proportion to the work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compress.measure.effort import Effort, Estimate, estimate

TRAINING = Effort(
    kind="a.Stage", machine="here", device="cpu", threads=2, steps=100, tokens=640.0, parameters=1_000_000
)


def test_in_proportion_to_steps_tokens_and_parameters() -> None:
    twice = replace(TRAINING, steps=200)
    assert estimate(twice, [(TRAINING, 30.0)]) == Estimate(60.0, 2.0)
    assert estimate(replace(TRAINING, tokens=320.0), [(TRAINING, 30.0)]) == Estimate(15.0, 0.5)
    assert estimate(replace(TRAINING, parameters=3_000_000), [(TRAINING, 30.0)]) == Estimate(90.0, 3.0)


def test_the_nearest_earlier_work_counts() -> None:
    earlier = [(replace(TRAINING, steps=10), 1.0), (replace(TRAINING, steps=90), 45.0)]
    assert estimate(TRAINING, earlier) == Estimate(pytest.approx(50.0), pytest.approx(10 / 9))


@pytest.mark.parametrize(
    "other",
    [
        replace(TRAINING, kind="another.Stage"),
        replace(TRAINING, machine="elsewhere"),
        replace(TRAINING, device="cuda"),
        replace(TRAINING, threads=1),
        replace(TRAINING, steps=0),
        replace(TRAINING, parameters=100),
    ],
)
def test_what_cannot_be_compared_tells_nothing(other: Effort) -> None:
    assert estimate(TRAINING, [(other, 30.0)]) is None
