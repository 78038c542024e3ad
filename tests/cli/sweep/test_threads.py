"""Jobs side by side share the processors."""

from __future__ import annotations

from typing import Any

import pytest

from compress.cli.sweep import threads
from compress.cli.sweep.threads import training_threads
from compress.core.errors import InputError

CASES = [
    ({"_target_": "x.BasicLauncher"}, 8),
    ({"_target_": "x.JoblibLauncher", "n_jobs": 2}, 4),
    ({"_target_": "x.JoblibLauncher", "n_jobs": 3}, 2),
    ({"_target_": "x.JoblibLauncher", "n_jobs": 16}, 1),
    # As many jobs as processors; all but one.
    ({"_target_": "x.JoblibLauncher", "n_jobs": -1}, 1),
    ({"_target_": "x.JoblibLauncher", "n_jobs": -7}, 4),
    ({"_target_": "x.RayLauncher", "ray": {"remote": {}}}, 1),
    ({"_target_": "x.RayLauncher", "ray": {"remote": {"num_cpus": 3}}}, 3),
    ({"_target_": "x.RayLauncher", "ray": {"remote": {"num_cpus": 64}}}, 8),
    ({"_target_": "x.LocalLauncher", "cpus_per_task": None}, 1),
    ({"_target_": "x.LocalLauncher", "cpus_per_task": 2}, 2),
    # Slurm itself leaves a job only the processors that it has.
    ({"_target_": "x.SlurmLauncher", "cpus_per_task": None}, 8),
    ({"_target_": "x.SlurmLauncher", "cpus_per_task": 4}, 4),
]


@pytest.mark.parametrize(("launcher", "expected"), CASES)
def test_each_launcher_leaves_a_job_its_share(
    monkeypatch: pytest.MonkeyPatch, launcher: dict[str, Any], expected: int
) -> None:
    monkeypatch.setattr(threads, "allowed_cpus", lambda: list(range(8)))
    assert training_threads(launcher) == expected


@pytest.mark.parametrize("jobs", [0, "two", True, None])
def test_no_jobs_at_once_are_refused(jobs: Any) -> None:
    with pytest.raises(InputError, match=r"hydra\.launcher\.n_jobs is .*; it must be a whole number other than 0"):
        training_threads({"_target_": "x.JoblibLauncher", "n_jobs": jobs})
