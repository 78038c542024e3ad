"""A run and a row to tell trackers of."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.ledger import Row
from compress.core.tracking import TrackedRun


@pytest.fixture
def tracked_run(tmp_path: Path) -> TrackedRun:
    """A job of a sweep, with a setting of each kind."""
    folder = tmp_path / "sweep" / "0"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"student": null}', encoding="utf-8")
    (folder / "ledger.jsonl").write_text("", encoding="utf-8")
    settings = {"seed": 3, "order": ["quantize"], "stages.quantize.scheme": "dynamic", "objective.speedup": None}
    return TrackedRun("quickstart 0", "sweep", folder, "compress -m seed=3,4", settings)


@pytest.fixture
def row() -> Row:
    """A stage that passed; what was not measured is None."""
    return Row(
        stage="quantize",
        artifact="abc",
        verdict="passed",
        reasons=("accuracy -0.0020",),
        decision="keep",
        value=0.75,
        difference=-0.002,
        interval=(-0.01, 0.006),
        latency_ms_p50=0.5,
        latency_ms_p90=0.875,
        speedup=4.0,
        speedup_interval=(3.5, 4.5),
        speedup_vs_torch=None,
        size_bytes=1000,
        parameters=250,
        nonzero_parameters=250,
        bytes_by_part={"ffn": 1000},
        seconds=2.5,
        reused=False,
        notes=("a note",),
    )
