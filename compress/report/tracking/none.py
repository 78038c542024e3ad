"""No tracker: the ledger and the summary, which every run writes, are enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from compress.core.ledger import Row
from compress.core.tracking import Ending, TrackedRun


@dataclass(frozen=True)
class NoTracker:
    """Tells nobody."""

    name: ClassVar[str] = "none"

    def start(self, run: TrackedRun) -> Silence:
        """See Tracker."""
        return Silence()


class Silence:
    """A run that nobody is told of."""

    def row(self, number: int, row: Row) -> None:
        """See Tracking."""

    def finish(self, ending: Ending, reason: str, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        """See Tracking."""
