"""What a sweep leaves in its folder, `sweep.json`, and prints at its end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from compress.core.errors import CompressError
from compress.report import wording
from compress.sweep.outcome import Outcome, worst, write_whole

FORMAT = 1
FILE = "sweep.json"
STYLES = {"exported": "green", "nothing passed": "yellow"}


@dataclass(frozen=True)
class Job:
    """One job: its number, its run's folder, the settings that tell it from the others, the command that makes its run
    again, and how it ended."""

    number: int
    folder: Path
    settings: Mapping[str, Any]
    command: str
    outcome: Outcome


class JobsFailedError(CompressError):
    """Not every job exported a model. exit_status: the worst job's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_status = status


def write(folder: Path, *, recipe: str, command: str, jobs: Sequence[Job], seconds: float, **more: Any) -> None:
    """Write `sweep.json`, whole or not at all. more: what only a search has."""
    values = {
        "format": FORMAT,
        "recipe": recipe,
        "command": command,
        "status": worst([job.outcome.status for job in jobs]),
        "seconds": seconds,
        **more,
        "jobs": [
            {
                "number": job.number,
                "folder": job.folder.relative_to(folder).as_posix(),
                "settings": dict(job.settings),
                "command": job.command,
                **job.outcome.to_json(),
            }
            for job in jobs
        ],
    }
    write_whole(folder / FILE, values)


def show(jobs: Sequence[Job], marked: Sequence[int] = ()) -> None:
    """Print every job with its settings and how it ended. marked: the numbers of those on the front of a search."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("job", justify="right")
    table.add_column("settings", overflow="fold", ratio=1)
    table.add_column("outcome")
    table.add_column("against the teacher, points", justify="right", max_width=20)
    table.add_column("speed-up", justify="right")
    table.add_column("MB", justify="right")
    for job in jobs:
        found = job.outcome
        settings = "  ".join(f"{name}={'null' if value is None else value}" for name, value in job.settings.items())
        table.add_row(
            f"{'* ' if job.number in marked else ''}{job.number}",
            Text(settings),
            Text(found.ending, style=STYLES.get(found.ending, "red")),
            wording.points_with_interval(found.accuracy_difference, found.accuracy_interval, 1),
            wording.factor_with_interval(found.speedup, found.speedup_interval),
            wording.megabytes(found.size_bytes),
        )
    console.print()
    console.print(table)
    for job in jobs:
        if job.outcome.reason is not None:
            console.print(Text(f"job {job.number}: {job.outcome.reason}", style="dim"), soft_wrap=True)


def failed(jobs: Sequence[Job], folder: Path) -> JobsFailedError | None:
    """What to end the command with where not every job exported a model."""
    without = [job for job in jobs if job.outcome.status != 0]
    if not without:
        return None
    numbers = ", ".join(str(job.number) for job in without)
    return JobsFailedError(
        f"{len(without)} of {len(jobs)} jobs exported nothing (job {numbers}); the reasons are above and in "
        f"{folder / FILE}.",
        worst([job.outcome.status for job in jobs]),
    )
