"""Costs between measured sizes, and whole models from parts: by hand."""

from __future__ import annotations

import json

import pytest

from compress.core.latency_table import LatencyTable, at

TABLE = LatencyTable(
    teacher=10.0,
    fixed=0.5,
    attention={2: 1.0, 6: 3.0, 12: 4.5},
    ffn={100: 1.0, 200: 2.0},
    last_attention={2: 0.2, 12: 0.7},
    last_ffn={100: 0.1},
)


@pytest.mark.parametrize(
    ("size", "cost"), [(2, 1.0), (4, 2.0), (6, 3.0), (9, 3.75), (12, 4.5), (1, 0.5), (14, 5.0), (0, 0.0)]
)
def test_costs_lie_on_lines_through_what_was_measured(size: int, cost: float) -> None:
    assert at(TABLE.attention, size) == pytest.approx(cost)


def test_a_cost_is_never_negative() -> None:
    assert at({4: 0.1, 8: 1.0}, 1) == 0.0


def test_one_measured_size_serves_all() -> None:
    assert at(TABLE.last_ffn, 7) == 0.1


def test_a_model_is_its_blocks_and_what_is_fixed() -> None:
    # 0.5 fixed, 3.0 + 1.5 in the first layer, 0.45 + 0.1 in the last.
    assert TABLE.predict([(6, 150), (7, 100)]) == pytest.approx(0.5 + 4.5 + 0.55)


def test_it_survives_json() -> None:
    assert LatencyTable.from_json(json.loads(json.dumps(TABLE.to_json()))) == TABLE
