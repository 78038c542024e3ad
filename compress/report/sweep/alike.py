"""Whether runs may stand in one front: the same task, metric and examples. Lesser differences are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compress.core.errors import InputError
from compress.report import wording
from compress.report.sweep.nested import value_at
from compress.report.sweep.runs import Run

Summary = Mapping[str, Any]

_MUST_AGREE: tuple[tuple[str, Callable[[Summary], Any]], ...] = (
    ("tasks", lambda summary: value_at(summary, "task", "name")),
    ("metrics", lambda summary: summary["metric"]),
    ("numbers of validation examples", lambda summary: value_at(summary, "examples", "validation")),
    ("validation examples", lambda summary: value_at(summary, "fingerprints", "validation")),
    ("numbers of test examples", lambda summary: value_at(summary, "examples", "test")),
    ("test examples", lambda summary: value_at(summary, "fingerprints", "test")),
)
_TOLD = (
    (
        "teachers",
        lambda summary: value_at(summary, "teacher", "artifact"),
        "every difference and speed-up is against the run's own teacher",
    ),
    ("runtimes", lambda summary: summary.get("runtime_label"), "a speed-up is against the teacher on the same runtime"),
    ("workloads", wording.at_once, "a speed-up is of one example at a time, or of batches"),
    (
        "machines",
        lambda summary: (value_at(summary, "environment", "cpu"), value_at(summary, "environment", "threads")),
        "speed-ups carry over from one to another better than milliseconds do, but not fully",
    ),
    ("devices for training", lambda summary: summary.get("device"), "the same settings train slightly other weights"),
)


def require_alike(runs: Sequence[Run]) -> None:
    """Raise InputError where two finished runs were not judged by the same examples in the same way.

    Runs from before examples were recorded by content lack it: they are compared by how many there were.
    """
    finished = [run for run in runs if run.summary is not None]
    for what, read in _MUST_AGREE:
        first: dict[str, Run] = {}
        for run in finished:
            assert run.summary is not None
            value = read(run.summary)
            if value is not None:
                first.setdefault(str(value), run)
        if len(first) > 1:
            (one, run), (other, another) = list(first.items())[:2]
            raise InputError(
                f"FOLDER holds runs with different {what}: {_short(one)} in {run.name}, {_short(other)} in "
                f"{another.name}. One front compares runs of one task, judged by one metric on the same examples. "
                "Give the folders apart, each for a report of its own."
            )


def differences(runs: Sequence[Run]) -> list[str]:
    """Sentences about what finished runs do not share although they may stand in one front."""
    summaries = [run.summary for run in runs if run.summary is not None]
    told = []
    for what, read, meaning in _TOLD:
        count = len({read(summary) for summary in summaries} - {None})
        if count > 1:
            told.append(f"The runs have {count} different {what}: {meaning}.")
    unnamed = sum(value_at(summary, "fingerprints", "validation") is None for summary in summaries)
    if unnamed and len(summaries) > 1:
        told.append(
            f"{unnamed} of {len(summaries)} finished runs do not record the content of their examples: whether they "
            "were judged by the same ones is known by the count of examples only."
        )
    return told


def _short(value: str) -> str:
    return value if len(value) <= 24 else f"{value[:12]}…"
