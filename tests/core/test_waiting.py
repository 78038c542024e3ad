"""Training's threads spin for a moment only; what is measured waits as the user's own programs do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compress.core.waiting import BRIEF, OURS, POLICY, SPINS, as_users_wait, wait_briefly
from compress.measure.processes import clean_environment

# OpenMP says, when torch loads it, what it goes by.
COMMAND = "import sys; from compress.cli.commands.run import main; sys.argv[1:] = ['device=cuda']; main()"


def told_by_openmp(**more: str) -> str:
    free = {name: value for name, value in os.environ.items() if name not in (POLICY, SPINS, OURS)}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        env={**free, "OMP_DISPLAY_ENV": "VERBOSE", "CUDA_VISIBLE_DEVICES": "", **more},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "device is cuda" in done.stderr
    return done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings another OpenMP here")
def test_a_run_waits_briefly_before_torch_is_loaded() -> None:
    assert f"GOMP_SPINCOUNT = '{BRIEF}'" in told_by_openmp()


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings another OpenMP here")
def test_the_users_own_setting_stays() -> None:
    assert "GOMP_SPINCOUNT = '77'" in told_by_openmp(GOMP_SPINCOUNT="77")
    told = told_by_openmp(OMP_WAIT_POLICY="PASSIVE")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in told and "GOMP_SPINCOUNT = '0'" in told


def test_what_is_measured_waits_as_it_will_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (POLICY, SPINS, OURS):
        monkeypatch.delenv(name, raising=False)
    wait_briefly()
    assert os.environ[SPINS] == BRIEF
    assert SPINS not in clean_environment(1) and OURS not in clean_environment(1)
    # A process that one of ours has started knows it too.
    wait_briefly()
    assert as_users_wait({SPINS: BRIEF, OURS: "1", "PATH": "x"}) == {"PATH": "x"}
    assert as_users_wait({SPINS: BRIEF}) == {SPINS: BRIEF}
