"""MLflow: a server, a database file, or a folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from compress.core.errors import InputError
from compress.core.ledger import Row
from compress.core.tracking import Ending, TrackedRun
from compress.report.tracking.follow import figures_of, words_of

# What MLflow takes in one request, and of one value.
PARAMETERS_AT_ONCE, LONGEST_VALUE = 100, 6000
# By itself it tries for minutes to reach a server that is away.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
STATUS = {"exported": "FINISHED", "nothing passed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


@dataclass(frozen=True, kw_only=True)
class MlflowTracker:
    """uri: of the tracking server or store, such as `http://host:5000` or `sqlite:///mlflow.db`; None for what
    MLFLOW_TRACKING_URI says, or MLflow's own default. experiment: the name under which runs are kept."""

    uri: str | None
    experiment: str

    name: ClassVar[str] = "mlflow"

    def __post_init__(self) -> None:
        if find_spec("mlflow") is None:
            raise InputError(
                "tracking is mlflow, whose package is not installed. Install it (pip install 'compress[mlflow]'), or "
                "use tracking=none."
            )

    def start(self, run: TrackedRun) -> MlflowRun:
        """See Tracker."""
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        # It tells of each table that it makes.
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        client = MlflowClient(tracking_uri=self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        number = client.create_experiment(self.experiment) if experiment is None else experiment.experiment_id
        tags = {
            "command": run.command,
            "folder": str(run.folder.resolve()),
            **({"sweep": run.group} if run.group else {}),
        }
        found = MlflowRun(client, client.create_run(number, run_name=run.name, tags=tags).info.run_id)
        found.parameters(run.settings)
        return found


class MlflowRun:
    """A run of MLflow's."""

    def __init__(self, client: Any, number: str) -> None:
        self._client, self._number = client, number

    def parameters(self, settings: Mapping[str, Any]) -> None:
        """All settings."""
        from mlflow.entities import Param

        params = [Param(name, str(value)[:LONGEST_VALUE]) for name, value in settings.items()]
        for start in range(0, len(params), PARAMETERS_AT_ONCE):
            self._client.log_batch(self._number, params=params[start : start + PARAMETERS_AT_ONCE])

    def row(self, number: int, row: Row) -> None:
        """Each figure under its own name with the stage's number as its step, and under the stage's name."""
        from mlflow.entities import Metric, RunTag

        now, figures = round(time.time() * 1000), figures_of(row)
        named = {**figures, **{f"{row.stage}/{name}": value for name, value in figures.items()}}
        metrics = [Metric(name, value, now, number) for name, value in named.items()]
        self._client.log_batch(self._number, metrics=metrics, tags=[RunTag(f"stage.{number}", words_of(row))])

    def finish(self, ending: Ending, reason: str, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        """The student's figures, the files as artifacts, and MLflow's own status."""
        for name, value in figures.items():
            self._client.log_metric(self._number, f"student/{name}", value)
        self._client.set_tag(self._number, "ending", ending)
        if reason:
            self._client.set_tag(self._number, "reason", reason)
        for path in files:
            self._client.log_artifact(self._number, str(path))
        self._client.set_terminated(self._number, status=STATUS[ending])
