"""Costs between measured sizes, and whole models from parts: by hand."""

from __future__ import annotations

import dataclasses
import json

import pytest

from compress.core.latency_table import LatencyTable, at, on_line

TABLE = LatencyTable(
    teacher=10.0,
    fixed=0.5,
    attention={0: 0.4, 2: 1.0, 6: 3.0, 12: 4.5},
    ffn={0: 0.3, 100: 1.0, 200: 2.0},
    last_attention={0: 0.04, 2: 0.2, 12: 0.7},
    last_ffn={0: 0.03, 100: 0.1},
    low_rank={
        "attention_output": {12: {4: -0.1, 8: 0.1}},
        "ffn_in": {100: {10: -0.2, 30: 0.2}, 200: {10: -0.6, 30: -0.2}},
        "ffn_out": {100: {10: -0.1}, 200: {10: -0.3}},
    },
)


@pytest.mark.parametrize(
    ("size", "cost"), [(2, 1.0), (4, 2.0), (6, 3.0), (9, 3.75), (12, 4.5), (1, 0.5), (14, 5.0), (0, 0.4)]
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


def test_blocks_cost_what_a_whole_model_says() -> None:
    # By its parts 0.5 + 4.5 + 0.55; measured 0.5 + 1.2 times the layers.
    found = TABLE.assembled([(6, 150), (7, 100)], 0.5 + 1.2 * 5.05)
    assert found.predict([(6, 150), (7, 100)]) == pytest.approx(6.56)
    assert (found.attention[6], found.ffn[0], found.last_attention[2], found.last_ffn[100]) == pytest.approx(
        (3.6, 0.36, 0.24, 0.12)
    )
    # What no cutting changes, and the teacher, were measured whole.
    assert (found.teacher, found.fixed, found.low_rank) == (10.0, 0.5, TABLE.low_rank)
    assert (
        found.together == pytest.approx(1.2)
        and LatencyTable.from_json(json.loads(json.dumps(found.to_json()))) == found
    )
    # As it was, but for rounding.
    assert found.alone().together is None and found.alone().predict([(6, 150)]) == pytest.approx(
        TABLE.predict([(6, 150)])
    )
    # A model that took less than what is fixed says nothing of its layers, nor does one without any.
    assert TABLE.assembled([(6, 150)], 0.4) == dataclasses.replace(TABLE, together=1.0)
    empty = dataclasses.replace(TABLE, last_attention={0: 0.0}, last_ffn={0: 0.0})
    assert empty.assembled([(0, 0)], 3.0) == dataclasses.replace(empty, together=1.0)
    assert TABLE.alone() == TABLE


def test_what_is_left_of_a_dropped_block_is_on_no_line() -> None:
    # One head costs what the line from 2 to 6 says, not half of the way from nothing to 2.
    assert [at(TABLE.attention, size) for size in (0, 1, 2)] == [0.4, 0.5, 1.0]


def test_no_layer_after_the_last_attention_computes_more_than_one_token() -> None:
    # The first: 3.0 + 0.3. The second has the last attention, and no FFN: 0.45 + 0.03. The third: 0.04 + 0.1. One more
    # is not there at all.
    assert TABLE.costs([(6, 0), (7, 0), (0, 100), (0, 0)]) == pytest.approx([3.3, 0.48, 0.14, 0.0])
    # Without any attention nothing but the first token is read.
    assert TABLE.costs([(0, 100), (0, 100)]) == pytest.approx([0.14, 0.14])


def test_where_the_head_reads_more_the_last_layer_is_like_any_other() -> None:
    table = dataclasses.replace(TABLE, last_attention={}, last_ffn={})
    assert not table.last_is_short
    # 3.0 + 1.0 in both; what is left of a dropped attention before an FFN is 0.4 + 1.0.
    assert table.costs([(6, 100), (6, 100), (0, 100)]) == pytest.approx([4.0, 4.0, 1.4])
    assert LatencyTable.from_json(json.loads(json.dumps(table.to_json()))) == table


@pytest.mark.parametrize(
    ("product", "count", "rank", "more"),
    [
        ("ffn_in", 100, 10, -0.2),
        ("ffn_in", 200, 20, -0.4),
        # Half of the way in both: between 0 and -0.4.
        ("ffn_in", 150, 20, -0.2),
        # As far again beyond what was measured.
        ("ffn_in", 200, 50, 0.2),
        ("ffn_out", 150, 7, -0.2),
        ("attention_output", 6, 5, -0.05),
    ],
)
def test_what_two_thin_products_take_more_lies_on_lines_in_both(
    product: str, count: int, rank: int, more: float
) -> None:
    assert TABLE.thinner(product, count, rank) == pytest.approx(more)


def test_ranks_are_part_of_the_whole() -> None:
    # 0.5 fixed, 3.0 + 1.5 in the first layer less 0.2 and 0.2, 0.45 + 0.1 in the last.
    ranks = [{"ffn_in": 20, "ffn_out": 10}, {}]
    assert TABLE.predict([(6, 150), (7, 100)], ranks) == pytest.approx(0.5 + 4.5 - 0.4 + 0.55)


def test_it_survives_json() -> None:
    assert LatencyTable.from_json(json.loads(json.dumps(TABLE.to_json()))) == TABLE
    busy = dataclasses.replace(TABLE, foreign_share=0.2, disturbed=True, prompt=TABLE)
    assert LatencyTable.from_json(json.loads(json.dumps(busy.to_json()))) == busy
    # One of before there were prompts, or anybody looked who else ran.
    told = {name: value for name, value in TABLE.to_json().items() if name not in ("disturbed", "prompt")}
    assert LatencyTable.from_json(told) == TABLE


def test_measured_sizes_may_stand_in_any_order() -> None:
    assert on_line({6: 3.0, 12: 4.5, 2: 1.0}, 4) == pytest.approx(2.0)
