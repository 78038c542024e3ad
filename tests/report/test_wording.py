"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from compress.report import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(117.4, "117"), (19.14, "19.1"), (8.3, "8.30"), (99.97, "100"), (0.042, "0.0420"), (1234.0, "1230"), (0, "0")],
)
def test_three_digits(value: float, text: str) -> None:
    assert wording.three_digits(value) == text


def test_points_are_signed_and_zero_is_not() -> None:
    assert wording.points_with_interval(-0.004, (-0.0112, 0.0023), 1) == "-0.4 [-1.1, +0.2]"
    assert wording.points(-0.0004, 1) == "0.0"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_missing_value_is_a_dash(value: float | None) -> None:
    assert wording.percent(value, 1) == "-"
    assert wording.points(value, 1) == "-"
    assert wording.three_digits(value) == "-"
    assert wording.megabytes(value) == "-"
    assert wording.duration(value) == "-"
    assert wording.latency(value, value) == "-"
    assert wording.factor_with_interval(value, (1.0, math.nan)) == "-"


def test_shares_in_words() -> None:
    assert wording.share_of_bytes(18, 90) == "about one fifth of the bytes"
    assert wording.share_of_bytes(17.4, 90) == "about one fifth of the bytes"  # 0.1933 * 5 = 0.967
    assert wording.share_of_bytes(70, 90) == "78% of the bytes"
    assert wording.share_of_bytes(108, 90) == "1.20 times the bytes"


def test_durations() -> None:
    assert [wording.duration(seconds) for seconds in (41.6, 200, 3900)] == ["42 s", "3 min 20 s", "1 h 05 min"]
