"""MLflow's own client writes to a database of its own, and reads it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.ledger import Row
from compress.core.tracking import TrackedRun
from compress.report.tracking.mlflow import MlflowTracker

mlflow = pytest.importorskip("mlflow", reason="compress[mlflow] is not installed")
pytest.importorskip("sqlalchemy", reason="compress[mlflow] is not installed: MLflow's database needs SQLAlchemy")


def test_a_run_is_found_again(
    tracked_run: TrackedRun, row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow keeps files beside its database by default.
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = MlflowTracker(uri=uri, experiment="ours")
    tracking = tracker.start(tracked_run)
    tracking.row(1, row)
    tracking.finish("exported", "", {"speedup": 4.0}, [tracked_run.folder / "summary.json"])
    stopped = tracker.start(tracked_run)
    stopped.finish("failed", "the disk is full", {}, [])

    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("ours")
    found = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id], "tags.sweep = 'sweep'")}
    run, other = found[tracking._number], found[stopped._number]
    assert len(found) == 2
    assert run.data.params["stages.quantize.scheme"] == "dynamic"
    assert run.data.params["seed"] == "3"
    assert run.data.metrics["quantize/speedup"] == 4.0
    assert run.data.metrics["student/speedup"] == 4.0
    assert [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "accuracy")] == [(1, 0.75)]
    assert (run.info.status, other.info.status) == ("FINISHED", "FAILED")
    assert other.data.tags["reason"] == "the disk is full"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["summary.json"]
