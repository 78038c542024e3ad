"""How much of the processors others took, by hand-made counters and by a real process that takes one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compress.measure import bystanders
from compress.measure.bystanders import Bystanders, disturbance

# user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice, in hundredths of a second.
BEFORE = """cpu  3000 0 0 9000 0 0 0 0 0 0
cpu0 1000 0 100 5000 50 0 0 0 0 0
cpu1 2000 0 0 4000 0 0 0 0 0 0
cpu2 900 0 0 4000 0 0 0 0 0 0
intr 1 2 3
"""
# cpu0: 100 busy (40 user, 30 system, 10 softirq, 20 stolen), 100 idle. cpu1: 20 busy, 180 idle. cpu2: 200 busy.
AFTER = """cpu  3000 0 0 9000 0 0 0 0 0 0
cpu0 1040 0 130 5090 60 0 10 20 0 0
cpu1 2020 0 0 4180 0 0 0 0 0 0
cpu2 1100 0 0 4000 0 0 0 0 0 0
intr 1 2 3
"""


@pytest.fixture
def stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's counters, as a file of our own, and processes that have done nothing."""
    path = tmp_path / "stat"
    monkeypatch.setattr(bystanders, "STAT", path)
    monkeypatch.setattr(bystanders, "_ticks", lambda: 100)
    monkeypatch.setattr(bystanders, "_own_seconds", lambda processes: next(OWN))
    return path


OWN = iter(())


def share(stat: Path, cpus: list[int], own: tuple[float, float] = (5.0, 5.0), after: str = AFTER) -> float | None:
    global OWN
    OWN = iter(own)
    found = Bystanders(cpus)
    stat.write_text(BEFORE, encoding="ascii")
    with found.watching([1]):
        stat.write_text(after, encoding="ascii")
    return found.share


def test_busy_time_that_is_not_ours(stat: Path) -> None:
    assert share(stat, [0]) == pytest.approx(0.5)  # 1.0 of 2.0 seconds
    assert share(stat, [0, 1]) == pytest.approx(0.3)  # 1.2 of 4.0
    assert share(stat, [0, 1], own=(5.0, 5.8)) == pytest.approx(0.1)  # 1.2 - 0.8 of 4.0
    # The two clocks differ by some hundredths.
    assert share(stat, [1], own=(5.0, 5.3)) == 0.0


def test_what_is_not_known(stat: Path) -> None:
    assert share(stat, [0, 3]) is None
    # 0.4 seconds are too few to tell.
    assert share(stat, [1], after=BEFORE.replace("cpu1 2000 0 0 4000", "cpu1 2040 0 0 4000")) is None
    assert share(stat, [1], after=BEFORE.replace("cpu1 2000 0 0 4000", "cpu1 2050 0 0 4000")) == 1.0
    stat.unlink()
    with (found := Bystanders([0])).watching([1]):
        pass
    assert found.share is None


@pytest.mark.parametrize(("found", "told"), [(None, False), (0.0, False), (0.099, False), (0.1, True), (0.43, True)])
def test_from_a_tenth_on_the_row_says_so(found: float | None, told: bool) -> None:
    assert (disturbance(found, 2, "this was timed") is not None) == told


def test_the_sentence() -> None:
    expected = "while this was timed, other processes used 43% of the 2 processors"
    assert disturbance(0.43, 2, "this was timed") == expected
    assert disturbance(1.0, 1, "layers were timed") == (
        "while layers were timed, other processes used 100% of the processor"
    )


BUSY = "import time; print(1, flush=True)\nwhile time.process_time() < 60: pass"


@pytest.mark.skipif(not bystanders.STAT.exists(), reason="only Linux counts the time of each processor")
def test_a_process_of_ours_is_none_of_theirs() -> None:
    """Both keep one processor busy; to one of the two it is a bystander."""
    (cpu, *_), before = sorted(os.sched_getaffinity(0)), os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline()
            alone, accompanied = Bystanders([cpu]), Bystanders([cpu])
            with alone.watching([process.pid]), accompanied.watching([]):
                time.sleep(1.5)
            process.kill()
    finally:
        os.sched_setaffinity(0, before)
    assert accompanied.share is not None and alone.share is not None
    assert accompanied.share > alone.share
