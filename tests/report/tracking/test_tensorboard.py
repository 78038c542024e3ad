"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.ledger import Row
from compress.core.tracking import TrackedRun
from compress.report.tracking.tensorboard import TensorboardTracker

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="compress[tensorboard] is not installed"
)


@pytest.mark.parametrize("own", [True, False])
def test_events_are_read_back(own: bool, tracked_run: TrackedRun, row: Row, tmp_path: Path) -> None:
    tracker = TensorboardTracker(folder=None if own else str(tmp_path / "events"))
    folder = tracked_run.folder / "tensorboard" if own else tmp_path / "events" / "sweep" / "quickstart 0"
    for _ in range(2):
        # The second run in the same place replaces the first.
        tracking = tracker.start(tracked_run)
        tracking.row(1, row)
        tracking.finish("exported", "", {"speedup": 4.0}, [tracked_run.folder / "summary.json"])
    events = accumulator.EventAccumulator(str(folder)).Reload()
    assert [(one.step, one.value) for one in events.Scalars("accuracy")] == [(1, 0.75)]
    assert [one.value for one in events.Scalars("quantize/speedup")] == [4.0]
    assert [one.value for one in events.Scalars("student/speedup")] == [4.0]
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")
    text = events.Tensors("summary.json/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '{"student": null}' in text
