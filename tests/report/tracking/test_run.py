"""Whole runs with a tracker: alone, in a sweep, and while the tracker's server is away."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from compress.cli.commands.run import main

pytest.importorskip("mlflow", reason="compress[mlflow] is not installed")
pytest.importorskip("tensorboard", reason="compress[tensorboard] is not installed")


def test_a_run_outlives_its_tracker_and_a_sweep_is_kept_together(
    tmp_path: Path, checkpoint: Path, examples: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    given = [
        *(f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}", "data.max_length=32"),
        *("measurement.launches=1", "measurement.rounds=2", "measurement.examples=4", "device=cpu"),
        *("order=[quantize]", "gates.quantize.on_inconclusive=keep"),
    ]

    def type_in(*arguments: str) -> str:
        # Hydra wants its flags before the settings.
        flags = [argument for argument in arguments if argument == "-m"]
        settings = [*given, *(argument for argument in arguments if argument not in flags)]
        monkeypatch.setattr(sys, "argv", ["compress", *flags, "-cn", "text_classification", *settings])
        with pytest.raises(SystemExit) as done:
            main()
        assert done.value.code == 0
        return str(capfd.readouterr().err)

    away = ("tracking=mlflow", "tracking.uri=http://me:geheim@127.0.0.1:9", "gates.quantize.max_accuracy_drop=1")
    errors = type_in(*away, f"hydra.run.dir={tmp_path / 'run'}")
    assert errors.count("warning: tracking=mlflow failed") == 1
    assert (tmp_path / "run" / "export" / "model.onnx").is_file()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "geheim" not in errors and [path for path in written if b"geheim" in path.read_bytes()] == []
    assert "tracking.uri=http://***@127.0.0.1:9" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")

    events = tmp_path / "events"
    errors = type_in(
        *("-m", f"hydra.sweep.dir={tmp_path / 'night'}", "tracking=tensorboard", f"tracking.folder={events}"),
        "gates.quantize.max_accuracy_drop=1,0.9",
    )
    assert "warning: tracking" not in errors
    assert sorted(path.name for path in (events / "night").iterdir()) == [
        "text_classification 0",
        "text_classification 1",
    ]
    # Nobody's tracker is part of a key: all was in the store.
    for job in ("0", "1"):
        rows = [
            json.loads(line) for line in (tmp_path / "night" / job / "ledger.jsonl").read_text("utf-8").splitlines()
        ]
        assert [row["reused"] for row in rows] == [True, True]
