"""How many threads a job may train with, so that jobs side by side do not wait for each other's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.core.errors import InputError
from compress.measure.environment import allowed_cpus


def training_threads(launcher: Mapping[str, Any]) -> int:
    """The share of this process's processors that a job may train with. launcher: the settings `hydra.launcher`.

    joblib: the processors divided by the jobs at once. Ray: `ray.remote.num_cpus`, which Ray reserves for the job (1
    where it is not set). submitit: `cpus_per_task`; where it is not set Slurm bounds the processors itself, and of the
    local executor's jobs, which all start at once, each has one. Raises InputError for jobs at once that are none.
    """
    available = len(allowed_cpus())
    kind = str(launcher.get("_target_", "")).rpartition(".")[2]
    if kind == "JoblibLauncher":
        return max(1, available // _jobs_at_once(launcher["n_jobs"], available))
    if kind == "RayLauncher":
        return _at_most(available, launcher["ray"]["remote"].get("num_cpus") or 1)
    if kind == "LocalLauncher":
        return _at_most(available, launcher["cpus_per_task"] or 1)
    if kind == "SlurmLauncher":
        return _at_most(available, launcher["cpus_per_task"] or available)
    return available


def _jobs_at_once(jobs: Any, available: int) -> int:
    """As joblib counts: -1 is one for each processor, -2 one less."""
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs == 0:
        raise InputError(
            f"hydra.launcher.n_jobs is {jobs}; it must be a whole number other than 0. Use 2 for two jobs at once, or "
            "-1 for one on each processor."
        )
    return jobs if jobs > 0 else max(1, available + 1 + jobs)


def _at_most(available: int, asked: float) -> int:
    return max(1, min(available, int(asked)))
