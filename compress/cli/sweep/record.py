"""What a sweep leaves in its folder, `sweep.json`, and prints at its end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from compress.cli.sweep.job_result import JobResult, worst, write_json
from compress.core.errors import CompressError, InputError
from compress.core.metric import ACCURACY, Label
from compress.core.run_files import SWEEP
from compress.report import wording
from compress.report.sweep import publish
from compress.report.terminal import terminal

FORMAT = 1
STYLES = {"exported": "green", "nothing passed": "yellow"}


@dataclass(frozen=True)
class Job:
    """One job: its number, its run's folder, the settings that tell it from the others, the command that makes its run
    again, and how it ended."""

    number: int
    folder: Path
    settings: Mapping[str, Any]
    command: str
    result: JobResult


class JobsFailedError(CompressError):
    """Not every job exported a model. exit_status: the worst job's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_status = status


def conclude(
    folder: Path,
    *,
    recipe: str,
    command: str,
    jobs: Sequence[Job],
    seconds: float,
    search: Mapping[str, Any] | None = None,
) -> None:
    """Write what a sweep leaves in its folder, and print it. search: the objectives, storage and front of a search."""
    found: dict[str, Any] = {} if search is None else {"search": search}
    _write(folder, {"recipe": recipe, "command": command, "seconds": seconds, **found}, jobs)
    console = terminal()
    _show(console, jobs, found.get("search", {}).get("front", ()))
    console.print()
    try:
        page = publish(folder, console)
    except InputError as error:
        # Jobs that no page can compare have still run.
        console.print(f"no report.html: {error}", soft_wrap=True)
    else:
        console.print(f"\nreport: {page}", soft_wrap=True)


def _write(folder: Path, facts: Mapping[str, Any], jobs: Sequence[Job]) -> None:
    values = {
        "format": FORMAT,
        "status": worst([job.result.status for job in jobs]),
        **facts,
        "jobs": [
            {
                "number": job.number,
                "folder": Path(os.path.relpath(job.folder, folder)).as_posix(),
                "settings": dict(job.settings),
                "command": job.command,
                **job.result.to_json(),
            }
            for job in jobs
        ],
    }
    write_json(folder / SWEEP, values)


def _show(console: Console, jobs: Sequence[Job], marked: Sequence[int]) -> None:
    """marked: the numbers of the jobs on the front of a search."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("job", justify="right")
    table.add_column("settings", overflow="fold", ratio=1)
    table.add_column("outcome")
    table.add_column(wording.heading("against the teacher", _metric(jobs).unit), justify="right", max_width=20)
    table.add_column("speed-up", justify="right")
    table.add_column("MB", justify="right")
    for job in jobs:
        found = job.result
        settings = "  ".join(f"{name}={'null' if value is None else value}" for name, value in job.settings.items())
        table.add_row(
            f"{'* ' if job.number in marked else ''}{job.number}",
            Text(settings),
            Text(found.ending, style=STYLES.get(found.ending, "red")),
            wording.difference_with_interval(found.difference, found.interval, found.metric.unit, 1),
            wording.speedup_or_busy(found.speedup, found.speedup_interval, busy=found.busy),
            wording.megabytes(found.size_bytes),
        )
    console.print()
    console.print(table)
    for job in jobs:
        if job.result.reason is not None:
            console.print(Text(f"job {job.number}: {job.result.reason}", style="dim"), soft_wrap=True)


def _metric(jobs: Sequence[Job]) -> Label:
    """That of what was measured."""
    return next((job.result.metric for job in jobs if job.result.difference is not None), ACCURACY)


def failed(jobs: Sequence[Job], folder: Path) -> JobsFailedError | None:
    """What to end the command with where not every job exported a model."""
    without = [job for job in jobs if job.result.status != 0]
    if not without:
        return None
    numbers = ", ".join(str(job.number) for job in without)
    return JobsFailedError(
        f"{len(without)} of {len(jobs)} jobs exported nothing (job {numbers}); the reasons are above and in "
        f"{folder / SWEEP}.",
        worst([job.result.status for job in jobs]),
    )
