"""Trackio: a database on this machine, or a Space of the Hugging Face hub."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from compress.core.errors import InputError
from compress.core.ledger import Row
from compress.core.tracking import Ending, TrackedRun
from compress.report.tracking.follow import figures_of, words_of


@dataclass(frozen=True, kw_only=True)
class TrackioTracker:
    """project: the name under which runs are kept. space: a Space of the hub that keeps them, such as `me/runs`, or
    None for this machine (TRACKIO_DIR says where)."""

    project: str
    space: str | None

    name: ClassVar[str] = "trackio"

    def __post_init__(self) -> None:
        if find_spec("trackio") is None:
            raise InputError(
                "tracking is trackio, whose package is not installed. Install it (pip install 'compress[trackio]'), "
                "or use tracking=none."
            )

    def start(self, run: TrackedRun) -> TrackioRun:
        """See Tracker."""
        import trackio

        config = {**{name: _plain(value) for name, value in run.settings.items()}, "command": run.command}
        # What it prints is no result of ours.
        with contextlib.redirect_stdout(sys.stderr):
            begun = trackio.init(
                project=self.project,
                name=run.name,
                group=run.group or None,
                space_id=self.space,
                config=config,
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        return TrackioRun(begun)


class TrackioRun:
    """A run of Trackio's."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def row(self, number: int, row: Row) -> None:
        """Each figure under its own name with the stage's number as its step, and under the stage's name."""
        figures = figures_of(row)
        named = {f"{row.stage}/{name}": value for name, value in figures.items()}
        self._run.log({**figures, **named, f"{row.stage}/words": words_of(row)}, step=number)

    def finish(self, ending: Ending, reason: str, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        """The student's figures, how it ended, and the files."""
        import trackio

        self._run.log(
            {**{f"student/{name}": value for name, value in figures.items()}, "ending": ending, "reason": reason}
        )
        with contextlib.redirect_stdout(sys.stderr):
            for path in files:
                self._run.log_artifact(path, name=path.stem, type="compress")
            # Its own `finish`, or it would end the run once more when Python ends.
            trackio.finish()


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
