"""What trackers are told, and that a run outlives one that fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from compress.core.ledger import Row
from compress.core.tracking import TrackedRun
from compress.report.tracking.follow import Follower, by_full_name, figures_of, words_of


@dataclass
class Failing:
    """A tracker whose server goes away at the call of this name."""

    at: str
    calls: list[str] = field(default_factory=list)
    name: ClassVar[str] = "failing"

    def start(self, run: TrackedRun) -> Failing:
        self._call("start")
        return self

    def row(self, number: int, row: Row) -> None:
        self._call("row")

    def finish(self, *told: Any) -> None:
        self._call("finish")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.at:
            raise ConnectionError("the server is away")


@pytest.mark.parametrize(
    ("at", "calls"),
    [
        ("start", ["start"]),
        ("row", ["start", "row"]),
        ("finish", ["start", "row", "row", "finish"]),
        ("never", ["start", "row", "row", "finish"]),
    ],
)
def test_a_failing_tracker_is_named_once(at: str, calls: list[str], tracked_run: TrackedRun, row: Row) -> None:
    tracker, warnings = Failing(at), list[str]()
    follower = Follower(tracker, tracked_run, warnings.append)
    follower.row(row)
    follower.row(row)
    follower.finish("exported", "")
    assert tracker.calls == calls
    assert len(warnings) == (at != "never")
    assert all("tracking=failing failed (ConnectionError: the server is away)" in warning for warning in warnings)


def test_figures_are_the_numbers_that_are_there(row: Row) -> None:
    figures = figures_of(row)
    assert figures["accuracy"] == 0.75
    assert (figures["accuracy_interval_low"], figures["accuracy_interval_high"]) == (-0.01, 0.006)
    assert figures["size_bytes"] == 1000
    assert not {"speedup_vs_torch", "reused", "stage", "notes", "bytes_by_part"} & set(figures)
    assert words_of(row) == "quantize: passed, keep\naccuracy -0.0020\na note"


def test_settings_by_their_full_names() -> None:
    nested = {"seed": 0, "stages": {"prune": {"heads": 0.5, "imitation": {"dropout": None}}}, "order": ["prune"]}
    assert dict(by_full_name(nested)) == {
        "seed": 0,
        "stages.prune.heads": 0.5,
        "stages.prune.imitation.dropout": None,
        "order": ["prune"],
    }


@pytest.mark.parametrize("tracker", ["mlflow", "tensorboard", "trackio"])
def test_a_missing_package_is_refused_with_the_way_out(
    tracker: str, monkeypatch: pytest.MonkeyPatch, checkpoint: Path, examples: Path
) -> None:
    import importlib

    from compress import recipe
    from compress.core.errors import InputError

    monkeypatch.setattr(importlib.import_module(f"compress.report.tracking.{tracker}"), "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"tracking is {tracker}.*pip install 'compress\[{tracker}\]'"):
        recipe("text_classification", f"model.path={checkpoint}", f"data.train={examples}", f"tracking={tracker}")
