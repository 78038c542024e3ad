"""What a run of `compress` found, as benchmarks/record.py keeps it."""

from __future__ import annotations

from operator import attrgetter

from benchmarks.render.table import Column, Result, Table, threads, versions
from compress.core.ledger import Row
from compress.report import wording


def stages(result: Result) -> str:
    """A row for each stage."""
    rows = [Row.from_json(row) for row in result["rows"]]
    metric = rows[0].metric
    unit = metric.unit
    return Table(
        Column("stage", attrgetter("stage")),
        Column(metric.title, lambda row: wording.value(row.value, unit, 1)),
        Column(
            wording.heading("against the teacher", unit),
            lambda row: (
                wording.difference_with_interval(row.difference, row.interval, unit, 1)
                if row.difference is not None
                else None
            ),
        ),
        Column("p50 / p90, ms", lambda row: wording.latency(row.latency_ms_p50, row.latency_ms_p90)),
        Column("speed-up", lambda row: wording.factor_with_interval(row.speedup, row.speedup_interval)),
        Column("against PyTorch", lambda row: wording.three_digits(row.speedup_vs_torch)),
        Column("MB", lambda row: wording.megabytes(row.size_bytes)),
        Column("verdict", wording.verdict_words),
    ).of(rows)


def outcome(result: Result) -> str:
    """In sentences: the test split, what was asked for, where it was measured and by which command."""
    return " ".join((_tested(result), _reached(result), _measured(result)))


def _tested(result: Result) -> str:
    row = _exported(result)
    teacher, student = result["teacher"]["test"], result["student"]["test"]
    if student is None:
        return "No test split was read."
    unit, name = row.metric.unit, row.metric.name
    lost = wording.difference_with_interval(student["difference"], student["interval"], unit, 2)
    compared = "a ratio of" if unit.kind == "ratio" else "difference"
    return (
        f"On the test split, read once ({student['examples']:,} examples): teacher "
        f"{wording.value(teacher[name], unit, 1)}, student {wording.value(student[name], unit, 1)}, {compared} "
        f"{lost if unit.kind == 'ratio' else wording.counted(lost, unit)}."
    )


def _reached(result: Result) -> str:
    row, first = _exported(result), Row.from_json(result["rows"][0])
    assert row.size_bytes is not None and first.size_bytes is not None
    speed = wording.factor_with_interval(row.speedup, row.speedup_interval)
    predicted = "" if row.predicted_speedup is None else f", {row.predicted_speedup:.1f} predicted"
    asked = f" ({result['objective']['speedup']:g} were asked for{predicted})" if result["objective"] else ""
    return f"**{speed} times faster**{asked}, **{first.size_bytes / row.size_bytes:.1f} times smaller**."


def _measured(result: Result) -> str:
    return (
        f"Measured on {result['date']} in {wording.duration(result['seconds'])} with {threads(result)} "
        f"({', '.join(result['machine']['cpu_flags'])}), {versions(result, 'torch', 'onnxruntime')}, "
        f"by `{result['command']}`."
    )


def _exported(result: Result) -> Row:
    return next(row for row in map(Row.from_json, result["rows"]) if row.stage == result["exported"]["stage"])
