from __future__ import annotations

import pytest

from compress.core.metric import ACCURACY
from compress.report.sweep.runs import Run
from compress.report.sweep.scales import Scale, scale_of
from compress.report.sweep.scatter import bytes_front, speed_front, speed_picture
from compress.report.sweep.standing import standing_of


def test_places_and_ticks_by_hand() -> None:
    even = Scale(-2.0, 0.0, 100.0, 0.0, False)
    assert [even.place(value) for value in (-2.0, -1.0, 0.0, -9.0)] == [100.0, 50.0, 0.0, 100.0]
    texts = [text.replace("\N{MINUS SIGN}", "-") for _, text in even.ticks()]
    assert texts == ["-2", "-1.5", "-1", "-0.5", "0"]
    logarithmic = Scale(1.0, 100.0, 0.0, 200.0, True)
    assert logarithmic.place(10.0) == 100.0
    assert [text for _, text in logarithmic.ticks()] == ["1", "3", "10", "30", "100"]
    assert [text for _, text in Scale(2.0, 2.5, 0.0, 1.0, True).ticks()] == ["2", "2.1", "2.2", "2.3", "2.4", "2.5"]


@pytest.mark.parametrize("logarithmic", [True, False])
def test_one_value_still_makes_a_scale(logarithmic: bool) -> None:
    scale = scale_of([3.0], 0.0, 100.0, logarithmic=logarithmic)
    assert scale.place(3.0) == pytest.approx(50.0, abs=0.1)
    assert scale.ticks()


def test_fronts_of_a_sweep(runs: list[Run]) -> None:
    standings = [standing_of(run) for run in runs]
    assert speed_front(standings) == [2, 1, 0]
    # Of the two with 20 MB the more accurate one; the one that exported nothing is on no front.
    assert bytes_front(standings) == [1, 0]


def test_a_failure_far_below_does_not_press_the_rest_together(runs: list[Run]) -> None:
    picture = speed_picture([standing_of(run) for run in runs], 0.01, ACCURACY)
    assert picture is not None
    marks = {mark.run: mark for mark in picture.marks}
    assert sorted(marks) == [0, 1, 2, 3]
    assert marks[3].beyond and marks[3].up is None and not marks[0].beyond
    # Six times is further to the right than four, and a larger loss is further down.
    assert marks[2].x > marks[1].x > marks[0].x and marks[2].y > marks[1].y > marks[0].y
    two, one, none = marks[2], marks[1], marks[0]
    assert picture.front == f"M{two.x},{two.y}H{one.x}V{one.y}H{none.x}V{none.y}"
