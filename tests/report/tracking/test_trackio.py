"""Trackio's own client writes to a database of its own, and reads it back, in a process that knows no other folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compress.core.ledger import Row
from compress.core.tracking import TrackedRun

pytest.importorskip("trackio", reason="compress[trackio] is not installed: it wants an older Pillow than the tests'")

PROGRAM = """
import json, sys
from pathlib import Path
from compress.core.ledger import Row
from compress.core.tracking import TrackedRun
from compress.report.tracking.trackio import TrackioTracker

folder, row = Path(sys.argv[1]), Row.from_json(json.loads(sys.argv[2]))
run = TrackedRun("quickstart 0", "sweep", folder, "compress", {"seed": 3, "order": ["quantize"]})
tracking = TrackioTracker(project="ours", space=None).start(run)
tracking.row(1, row)
tracking.finish("exported", "", {"speedup": 4.0}, [folder / "summary.json"])
import trackio
from trackio.sqlite_storage import SQLiteStorage

[found] = trackio.Api().runs("ours")
print(json.dumps([found.name, found.config, SQLiteStorage.get_logs("ours", found.name)]))
"""


def test_a_run_is_found_again(tracked_run: TrackedRun, row: Row, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tracked_run.folder), json.dumps(row.to_json())],
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")},
        capture_output=True,
        text=True,
        check=True,
    )
    name, config, logs = json.loads(done.stdout)
    assert (name, config["seed"], config["_Group"]) == ("quickstart 0", 3, "sweep")
    [first, last] = logs
    assert (first["step"], first["accuracy"], first["quantize/speedup"]) == (1, 0.75, 4.0)
    assert (last["student/speedup"], last["ending"]) == (4.0, "exported")
    assert any(path.name == "summary.json" for path in (tmp_path / "trackio").rglob("*")) or any(
        b"summary" in path.read_bytes() for path in (tmp_path / "trackio").rglob("*.db")
    )
