"""The forms of an INT8 product: whose answers stay, and how fast each is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.render.table import RATIO, Column, Result, Table, threads, versions

ALONE = "alone"


def same_answer(result: Result) -> str:
    """Of each form how many texts get another class, and the speed, where it was measured."""
    first = result["rows"][0]["changed"]
    ways = [one["way"] for one in first if one["threads"] == 1 and one["way"] != ALONE]
    most = max(one["threads"] for one in first)
    timed = result.get("times", {}).get("ways", [])
    table = Table(
        Column("INT8 by", "label"),
        Column("accuracy", lambda row: row["right"] / result["texts"], "{:.1%}"),
        Column("MB", lambda row: row["bytes"] / 1e6, "{:.1f}"),
        Column("not as FP32", "other_than_fp32"),
        *(Column(way, lambda row, way=way: _counts(row, way)) for way in ways),
        Column(f"{most} threads", lambda row: _of(row, ALONE, most)["changed"]),
        Column("largest difference", lambda row: _largest(row), "{:.1e}"),
        *(Column(f"{way['way']}, times as fast", lambda row, way=way: _speed(row, way)) for way in timed),
    )
    return f"{_told(result, timed)}\n\n{table.of(result['rows'])}"


def _told(result: Result, timed: list[Any]) -> str:
    told = (
        f"{result['texts']:,} passages, {result['date']}, {threads(result)}, {versions(result, 'onnxruntime')}; the "
        f"largest logit of FP32 is {result['largest_logit']:.1f}."
    )
    if not timed:
        return told
    disturbed = ", while others used the processors" if any(way["disturbed"] for way in timed) else ""
    return f"{told} Timed on {result['times']['date']} with {threads(result['times'])}{disturbed}, 95% intervals."


def _counts(row: Mapping[str, Any], way: str) -> str:
    """With each number of threads."""
    return " / ".join(str(one["changed"]) for one in row["changed"] if one["way"] == way)


def _of(row: Mapping[str, Any], way: str, number: int) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in row["changed"] if one["way"] == way and one["threads"] == number)
    return found


def _largest(row: Mapping[str, Any]) -> float:
    return max(one["largest_difference"] for one in row["changed"])


def _speed(row: Mapping[str, Any], way: Mapping[str, Any]) -> str:
    found = next(one for one in way["rows"] if one["form"] == row["form"])
    return RATIO.format(found["times_as_fast"], found["interval"])
