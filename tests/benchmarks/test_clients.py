"""What `make clients` counts, what it installs, and that what was recorded is enough."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import clients
from benchmarks.render import outside


def test_the_nearest_other_one_by_hand() -> None:
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=np.float32)
    # Cosines: 0.8 and 0; 0.8 and 0.6; 0 and 0.6.
    assert clients.nearest(vectors).tolist() == [1, 0, 1]


def test_a_difference_is_seen() -> None:
    judged = np.eye(3, dtype=np.float32)
    case = clients.CASES[0]
    same = clients.compared(case, {"version": "1", "answers": judged.tolist()}, judged)
    assert same["same"] and same["largest_difference"] == 0 and same["changed"] == 0
    moved = judged.copy()
    moved[0] = [0.6, 0.0, 0.8]
    found = clients.compared(case, {"version": "1", "answers": moved.tolist()}, judged)
    assert not found["same"] and found["largest_difference"] == pytest.approx(0.8)
    # The first and the third are now each other's.
    assert found["changed"] == 1
    with pytest.raises(SystemExit, match="shape"):
        clients.compared(case, {"version": "1", "answers": [[1.0]]}, judged)


def test_every_client_is_pinned() -> None:
    for case in clients.CASES:
        folder = clients.CLIENTS / case.client
        if (folder / "package.json").is_file():
            wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"].values()
            assert all(version[0].isdigit() for version in wanted)
        else:
            lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
            assert lines and all("==" in line for line in lines)


def test_the_recorded_run_gave_the_judged_answers() -> None:
    rows = json.loads(clients.RESULTS.read_text(encoding="utf-8"))["rows"]
    assert {(row["client"], row["model"]) for row in rows} <= {(case.client, case.model) for case in clients.CASES}
    must = [row for row in rows if row["exact"]]
    assert must and all(row["same"] and row["largest_difference"] <= clients.SAME for row in must)
    assert all(row["inputs"] == clients.TEXTS for row in rows)
    assert "what the run exported" in outside.CLIENTS({"rows": rows})
