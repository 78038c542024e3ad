"""What an experiment tracker must offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from compress.core.ledger import Row

Ending = Literal["exported", "nothing passed", "failed", "interrupted"]


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers are told of it. group: the sweep that it is a job of, or "". settings: by their full names."""

    name: str
    group: str
    folder: Path
    command: str
    settings: Mapping[str, Any]


class Tracking(Protocol):
    """A run that a tracker has been told of. What goes wrong may raise anything: the run goes on without it."""

    def row(self, number: int, row: Row) -> None:
        """A stage has ended: the ledger's row, and its number from 0, the teacher's."""
        ...

    def finish(self, ending: Ending, reason: str, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        """The run has ended. reason: why it exported nothing, or "". figures: of what was exported. files: what it
        left: report, summary and ledger, as far as they are there."""
        ...


class Tracker(Protocol):
    """Where runs are told of, beside their own ledger. Refuses, when built, where its package is not installed."""

    name: ClassVar[str]

    def start(self, run: TrackedRun) -> Tracking:
        """Tell of a run that begins."""
        ...
