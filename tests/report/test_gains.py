"""Gains are against the previous kept stage, also after a roll back and after a stage without measurements."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from compress.core.ledger import Row
from compress.report.gains import gains_by_stage


def test_each_stage_is_compared_with_the_last_kept_one(rows: list[Row]) -> None:
    gains = gains_by_stage(rows)
    assert [(gain.stage, gain.against, gain.kept) for gain in gains] == [
        ("distill", "teacher", True),
        ("prune_heads", "distill", False),
        ("prune_neurons", "distill", True),
        ("factorize", "prune_neurons", False),
        ("quantize", "prune_neurons", True),
    ]
    # 2.0 / 1, 5.0 / 2.0, 2.5 / 2.0, -, 6.8 / 2.5
    assert [gain.latency_factor for gain in gains] == pytest.approx([2.0, 2.5, 1.25, None, 2.72])
    # 91.7 - 92.0, 89.3 - 91.7, 91.4 - 91.7, -, 91.6 - 91.4
    assert [gain.change for gain in gains] == pytest.approx([-0.003, -0.024, -0.003, None, 0.002])


def test_kept_factors_multiply_to_the_whole_speedup(rows: list[Row]) -> None:
    assert math.prod(gain.latency_factor or 1.0 for gain in gains_by_stage(rows) if gain.kept) == pytest.approx(6.8)


def test_a_kept_stage_without_measurements_is_passed_over(make_row: Callable[..., Row]) -> None:
    gains = gains_by_stage(
        [
            make_row("teacher", "baseline", "keep", value=0.9),
            make_row("factorize", "skipped", "keep"),
            make_row("quantize", "passed", "keep", value=0.89, speedup=3.0),
        ]
    )
    assert gains[1].against == "teacher"
    assert gains[1].latency_factor == pytest.approx(3.0)
    assert gains[1].change == pytest.approx(-0.01)


def test_not_a_number_counts_as_not_measured(make_row: Callable[..., Row]) -> None:
    rows = [
        make_row("teacher", "baseline", "keep", value=0.9),
        make_row("quantize", "failed", "roll_back", value=math.nan, speedup=math.nan),
    ]
    gain = gains_by_stage(rows)[0]
    assert gain.latency_factor is None
    assert gain.change is None
