"""Hydra's launchers with two jobs each, of which one breaks: in other processes, as a user starts them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

LAUNCHERS = [
    ("joblib", "hydra_plugins.hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    (
        "ray",
        "hydra_plugins.hydra_ray_launcher",
        ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"],
    ),
    ("submitit_local", "hydra_plugins.hydra_submitit_launcher", ["hydra.launcher.timeout_min=10"]),
]


def installed(module: str) -> bool:
    """Whether a plugin is there; its namespace may not be."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize(
    ("launcher", "settings"),
    [
        pytest.param(
            name,
            settings,
            marks=pytest.mark.skipif(not installed(module), reason=f"{name}'s extra is not installed"),
            id=name,
        )
        for name, module, settings in LAUNCHERS
    ],
)
def test_a_launcher_runs_every_job_and_brings_back_how_each_ended(
    terminal: Any, launcher: str, settings: list[str]
) -> None:
    # Paths that hold in the process of the job only if it knows where the command was given.
    answer = terminal.sweep(
        f"hydra/launcher={launcher}", *settings, "stages.ends.how=well,raises", "hydra.sweep.dir=sweep"
    )
    assert answer.status == 1, answer.errors
    assert terminal.endings() == ["exported", "broken"]
    jobs = terminal.record()["jobs"]
    assert jobs[1]["reason"].startswith("RuntimeError: the stage broke") and jobs[0]["size_bytes"] > 10_000
    assert (terminal.folder / "sweep" / "0" / "export" / "model.onnx").is_file()
    assert "job 1: RuntimeError: the stage broke" in answer.output


@pytest.mark.skipif(not installed("hydra_plugins.hydra_joblib_launcher"), reason="joblib's extra is not installed")
def test_a_job_whose_process_dies_stops_no_other(terminal: Any) -> None:
    answer = terminal.sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "stages.ends.how=dies,well")
    assert answer.status == 1
    assert terminal.endings() == ["lost", "exported"]
    assert "its process left no result (TerminatedWorkerError" in terminal.record()["jobs"][0]["reason"]


@pytest.mark.skipif(not installed("hydra_plugins.hydra_joblib_launcher"), reason="joblib's extra is not installed")
def test_a_launchers_processes_run_no_file_of_the_current_folder(
    terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    # joblib imports the first as soon as it starts, the second is what its helper process does.
    for name in ("numpy", "multiprocessing"):
        (terminal.folder / f"{name}.py").write_text(f"open('run', 'a').write('{name} ')", encoding="utf-8")
    # Other jobs than before, or joblib would use the processes that it still has.
    terminal.sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "stages.ends.how=dies,raises")
    assert not (terminal.folder / "run").exists()


@pytest.mark.skipif(not installed("hydra_plugins.hydra_joblib_launcher"), reason="joblib's extra is not installed")
def test_jobs_side_by_side_train_with_their_share_of_the_processors(terminal: Any) -> None:
    from compress.measure.environment import allowed_cpus

    # A stage that no other test has made, and so one that says with how many threads it was made.
    answer = terminal.sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "stages.ends.how=counted,again")
    assert answer.status == 0, answer.errors
    share = max(1, len(allowed_cpus()) // 2)
    # What follows is about the machine, which is busy with the other job.
    assert [terminal.ledger(job)[-1]["notes"][0] for job in (0, 1)] == [f"{share} threads"] * 2


def test_a_launcher_that_is_not_installed_says_what_brings_it(terminal: Any) -> None:
    if installed("hydra_plugins.hydra_ray_launcher"):
        pytest.skip("Ray's extra is installed")
    answer = terminal.sweep("hydra/launcher=ray", "seed=0,1")
    assert answer.status == 2 and "pip install 'compress[ray]'" in answer.errors


def test_jobs_at_once_that_are_none_are_refused(terminal: Any) -> None:
    if not installed("hydra_plugins.hydra_joblib_launcher"):
        pytest.skip("joblib's extra is not installed")
    answer = terminal.sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=0", "seed=0,1")
    assert answer.status == 2 and "hydra.launcher.n_jobs is 0" in answer.errors
    assert not any(terminal.folder.iterdir())
