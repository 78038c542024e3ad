"""A run followed by its recipe's tracker. A tracker that fails is named once, and the run goes on without it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compress.core.errors import CompressError, NothingPassedError
from compress.core.ledger import Row
from compress.core.recipe import Recipe
from compress.core.run_files import LEDGER, REPORT, SUMMARY
from compress.core.secrets import masked
from compress.core.tracking import Ending, TrackedRun, Tracker, Tracking

LEFT = (REPORT, SUMMARY, LEDGER)


@contextmanager
def tracked(
    recipe: Recipe, folder: Path, *, command: str, sweep: str, warn: Callable[[str], None]
) -> Iterator[Follower]:
    """Inside, the run is followed; however it ends, the tracker is told."""
    settings = {name: value for name, value in recipe.settings.items() if name != "tracking"}
    run = TrackedRun(
        name=f"{recipe.name} {folder.resolve().name}",
        group=sweep,
        folder=folder,
        command=masked(command),
        settings=masked(dict(by_full_name(settings))),
    )
    follower = Follower(recipe.tracker, run, warn)
    try:
        yield follower
    except KeyboardInterrupt:
        follower.finish("interrupted", "stopped by hand")
        raise
    except NothingPassedError as error:
        follower.finish("nothing passed", str(error))
        raise
    except CompressError as error:
        follower.finish("failed", str(error))
        raise
    except Exception as error:
        follower.finish("failed", f"{type(error).__name__}: {error}")
        raise
    else:
        follower.finish("exported", "")


class Follower:
    """Tells a tracker, until it fails."""

    def __init__(self, tracker: Tracker, run: TrackedRun, warn: Callable[[str], None]) -> None:
        self._name, self._folder, self._warn = tracker.name, run.folder, warn
        self._rows = 0
        self._tracking: Tracking | None = None
        self._attempt(lambda: setattr(self, "_tracking", tracker.start(run)))

    def row(self, row: Row) -> None:
        """A stage has ended."""
        tracking, number = self._tracking, self._rows
        self._rows += 1
        if tracking is not None:
            self._attempt(lambda: tracking.row(number, row))

    def finish(self, ending: Ending, reason: str) -> None:
        """The run has ended."""
        tracking = self._tracking
        if tracking is not None:
            files = [self._folder / name for name in LEFT if (self._folder / name).is_file()]
            self._attempt(lambda: tracking.finish(ending, masked(reason), _figures_of_student(self._folder), files))

    def _attempt(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - whatever a tracker's client raises, the run's work is worth more
            self._tracking = None
            # A client's error may name the address that it was given.
            told = masked(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
            self._warn(
                f"tracking={self._name} failed ({told}). The run goes on without it; everything is in {self._folder}."
            )


def by_full_name(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as `stages.distill.epochs`, each with its value."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from by_full_name(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def figures_of(row: Row) -> dict[str, float]:
    """The numbers of a row that are there, intervals as `_low` and `_high`. None of a speed that a busy machine kept
    from being measured: the row's words say why."""
    found: dict[str, float] = {}
    for name, value in row.to_json().items():
        if name.endswith("_interval") and value is not None:
            found |= {f"{name}_low": float(value[0]), f"{name}_high": float(value[1])}
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[name] = float(value)
    return found


def words_of(row: Row) -> str:
    """What a row says in words."""
    lines = (f"{row.stage}: {row.verdict}, {row.decision}", *row.reasons, *row.notes)
    return "\n".join(lines)


def _figures_of_student(folder: Path) -> dict[str, float]:
    """Of the summary's student, with its figures on the test split as `test.accuracy`."""
    path = folder / SUMMARY
    student = json.loads(path.read_text(encoding="utf-8"))["student"] if path.is_file() else None
    # What a busy machine showed is no figure of the student's.
    named = by_full_name({name: value for name, value in (student or {}).items() if name != "disturbance"})
    return {
        name: float(value) for name, value in named if isinstance(value, int | float) and not isinstance(value, bool)
    }
