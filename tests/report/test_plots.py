"""The plots carry the run's numbers, escape its names, and are the same each time."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from compress.core.ledger import Row
from compress.core.metric import ACCURACY
from compress.report.frontier import metric_against_speed
from compress.report.labels import place_labels
from compress.report.plots import bytes_by_part, gain_and_cost, megabytes_by_part


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter() if element.tag == "text"]


def draw(rows: list[Row]) -> list[str]:
    drawn = [metric_against_speed(rows, 0.01, ACCURACY), gain_and_cost(rows, ACCURACY), bytes_by_part(rows)]
    return [svg for svg in drawn if svg is not None]


def test_gain_and_cost_are_written_at_the_bars(rows: list[Row]) -> None:
    svg = gain_and_cost(rows, ACCURACY)
    assert svg is not None
    written = texts(svg)
    for word in ("2.00x", "2.50x (not kept)", "1.25x", "2.72x", "-0.30", "-2.40 (not kept)", "+0.20"):
        assert word in written
    assert written.count("not measured") == 2


def test_bytes_by_part_in_megabytes(rows: list[Row]) -> None:
    assert megabytes_by_part(rows[1]) == pytest.approx({"embeddings": 47, "attention": 7, "ffn": 5, "other": 1})
    # A part of another name belongs to the rest.
    assert megabytes_by_part(rows[5])["other"] == pytest.approx(0.2)
    svg = bytes_by_part(rows)
    assert svg is not None
    # 47 + 14 + 28 + 1, 47 + 7 + 5 + 1, 11.8 + 3 + 2 + 0.2; three stages have no bytes.
    assert [text for text in texts(svg) if text.endswith(" MB")] == ["90.0 MB", "60.0 MB", "17.0 MB"]


def test_frontier_names_every_measured_stage_and_the_limit(rows: list[Row]) -> None:
    svg = metric_against_speed(rows, 0.01, ACCURACY)
    assert svg is not None
    written = texts(svg)
    for word in ("teacher", "distill", "prune_heads", "prune_neurons", "quantize", "not kept", "unproven"):
        assert word in written
    assert "factorize" not in written
    assert "limit, 1.00 points below the teacher" in written
    assert "teacher 92.00% at 1.00 times the speed" in svg


def test_the_same_run_draws_the_same_bytes(rows: list[Row]) -> None:
    assert draw(rows) == draw(rows)


def test_ids_do_not_clash_and_nothing_is_fetched(rows: list[Row]) -> None:
    page = "".join(draw(rows))
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert "http" not in page
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(ids)


def test_hostile_names_stay_text(rows: list[Row]) -> None:
    name = '<script>$x_{"&'
    page = draw([dataclasses.replace(row, stage=name) for row in rows])
    assert len(page) == 3
    for svg in page:
        assert "<script" not in svg
        assert name in texts(svg)


def test_no_measurement_draws_nothing(make_row: Callable[..., Row]) -> None:
    teacher = make_row("teacher", "baseline", "keep", value=math.nan, latency_ms_p50=math.nan)
    assert draw([teacher, make_row("quantize", "error", "stop")]) == []


def test_labels_avoid_each_other_and_the_edge() -> None:
    corners = place_labels([(50.0, 50.0), (52.0, 51.0), (95.0, 50.0)], [30.0, 30.0, 30.0], 10.0, [], (0, 0, 100, 100))
    boxes = [(x, y, x + 30, y + 10) for x, y in corners]
    for index, one in enumerate(boxes):
        assert one[0] >= 0
        assert one[2] <= 100
        for other in boxes[index + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
