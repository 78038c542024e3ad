"""Several models beside each other, as benchmarks/contest.py measures them."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.render.table import Column, Result, Table, hundredfold, millionth, source
from compress.report.wording import factor_with_interval

TOOLS = ("torch", "onnxruntime", "openvino", "nncf", "ctranslate2")


def contest(result: Result) -> str:
    """A row for each model, and how they were measured."""
    columns = [
        Column("model", lambda row: f"**{row['name']}**" if row["ours"] else row["name"]),
        Column(result["metric"], "score", "{:.1%}"),
        Column(f"against {result['reference']}, points", "difference, interval", points_of_many),
        Column("speed-up", "real.speedup, real.interval", factor_with_interval),
        Column(f"at 1 x {result['long_tokens']}", "long.speedup, long.interval", factor_with_interval),
        Column("MB", "size_bytes", millionth(".1f")),
        Column("memory, MB", "memory_bytes", millionth(".0f")),
    ]
    if any(row["seconds"] is not None for row in result["rows"]):
        columns.append(Column("made in, s", "seconds", "{:.0f}"))
    told = (
        f"{result['examples']:,} examples of the {result['split']} split, in pairs with {result['reference']}; "
        f"speed-up against {result['baseline']}, in turns, a process each; each end of an interval holds at "
        f"{result['confidence']:.0%}. MB are what is stored, memory is the most that the process held. "
        f"{source(result, *TOOLS)}"
    )
    return f"{Table(*columns)(result)}\n\n{told}"


def points(share: float, interval: Sequence[float], decimals: int) -> str:
    """A difference of shares in points, with its interval."""
    centre, low, high = map(hundredfold(f"+.{decimals}f"), (share, *interval))
    return f"{centre} [{low}, {high}]"


def points_of_many(share: float, interval: Sequence[float]) -> str:
    """With two decimals."""
    return points(share, interval, 2)


def points_of_few(share: float, interval: Sequence[float]) -> str:
    """With one decimal."""
    return points(share, interval, 1)


# The same teacher, asked for more speed and for less.
SPEEDS = Table(
    Column("asked", "asked", "{:g}"),
    Column("predicted", "predicted", "{:.1f}"),
    Column("speed-up", "speedup, interval", factor_with_interval),
    Column("validation, points", "validation.difference, validation.interval", points_of_few),
    Column("test, points", "test.difference, test.interval", points_of_many),
    Column("MB", "size_bytes", millionth(".1f")),
    Column("made in, s", "seconds", "{:,.0f}"),
    above=lambda result: source(result, "torch", "onnxruntime"),
)

# Students of few labelled texts, with and without text that nobody labelled.
FEW_LABELS = Table(
    Column("student", "name"),
    Column("accuracy", "score", "{:.1%}"),
    Column("against the first, points", "difference, interval", points_of_few),
    above=lambda result: (
        f"Of {result['examples']:,} examples, in pairs; the teacher has {result['teacher']:.1%}. "
        f"{source(result, 'torch')}"
    ),
)
