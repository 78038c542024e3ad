"""Which runs may stand in one front, and what is only told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.report.sweep.alike import differences, require_alike
from compress.report.sweep.runs import find_runs

from .conftest import MakeRun


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"task": {"name": "tagging"}}, "different tasks: text_classification in 0, tagging in 1"),
        ({"metric": "f1"}, "different metrics: accuracy in 0, f1 in 1"),
        ({"examples": {"validation": 800, "test": 700}},
         "different numbers of validation examples: 900 in 0, 800 in 1"),
        ({"fingerprints": {"validation": "x" * 64, "test": "w" * 64}},
         "different validation examples: vvvvvvvvvvvv… in 0, xxxxxxxxxxxx… in 1"),
        ({"fingerprints": {"validation": "v" * 64, "test": "x" * 64}}, "different test examples: wwww"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    other: dict[str, Any], told: str, make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("0", [])
    make_run("1", [], **other)
    with pytest.raises(InputError) as caught:
        require_alike(find_runs([tmp_path]))
    assert told in str(caught.value)
    assert str(caught.value).endswith("Give the folders apart, each for a report of its own.")


def test_runs_without_a_summary_or_from_before_are_no_reason(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("0", [])
    make_run("1", [], fingerprints=None)
    make_run("2", [], finished=False)
    found = find_runs([tmp_path])
    require_alike(found)
    assert differences(found) == [
        "1 of 2 finished runs do not record the content of their examples: whether they were judged by the same ones "
        "is known by the count of examples only."
    ]


def test_speeds_of_one_example_and_of_batches_are_told_apart(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("0", [])
    make_run("1", [], at_once=32)
    assert differences(find_runs([tmp_path])) == [
        "The runs have 2 different workloads: a speed-up is of one example at a time, or of batches."
    ]


def test_lesser_differences_are_told(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("0", [], environment={"cpu": "one", "threads": 2})
    make_run("1", [], environment={"cpu": "one", "threads": 1}, teacher={"artifact": "other"})
    assert differences(find_runs([tmp_path])) == [
        "The runs have 2 different teachers: every difference and speed-up is against the run's own teacher.",
        "The runs have 2 different machines: speed-ups carry over from one to another better than milliseconds do, but "
        "not fully.",
    ]
