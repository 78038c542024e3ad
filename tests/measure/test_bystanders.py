"""How much of the processors others took, by hand-made counters and by a real process that takes one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from compress.measure import bystanders
from compress.measure.bystanders import Bystanders, company_of, disturbance, is_disturbed
from compress.measure.environment import allowed_cpus
from compress.measure.processes import Candidate, Worker
from compress.measure.waits import Waits, read_counters
from compress.measure.worker import save_batches

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
    # One of ours that has ended takes its seconds with it: 1.0 + 2.0 of 2.0.
    assert share(stat, [0], own=(5.0, 3.0)) == 1.0
    # The two clocks differ by some hundredths.
    assert share(stat, [1], own=(5.0, 5.3)) == 0.0


def test_what_is_not_known(stat: Path) -> None:
    assert share(stat, [0, 3]) is None
    # 0.4 seconds are too few to tell.
    assert share(stat, [1], after=BEFORE.replace("cpu1 2000 0 0 4000", "cpu1 2040 0 0 4000")) is None
    assert share(stat, [1], after=BEFORE.replace("cpu1 2000 0 0 4000", "cpu1 2050 0 0 4000")) == 1.0
    # Half a second of each of the processors, not of all together.
    shorter = BEFORE.replace("cpu0 1000 0 100 5000", "cpu0 1030 0 100 5000").replace("cpu1 2000", "cpu1 2030")
    assert share(stat, [0, 1], after=shorter) is None
    # A kernel that counts less than eight things.
    assert share(stat, [0], after=AFTER.replace(" 5090 60 0 10 20 0 0", " 5090 60 0 10")) is None
    stat.unlink()
    with (found := Bystanders([0])).watching([1]):
        pass
    assert found.share is None


def test_what_guests_of_ours_ran_is_counted_once(stat: Path) -> None:
    # The last two columns are part of the first two.
    assert share(stat, [0], after=AFTER.replace("10 20 0 0", "10 20 40 30")) == pytest.approx(0.5)


def test_what_was_watched_adds_up(stat: Path) -> None:
    """0.4 s of 2 twice over, of which a hypervisor takes 0.1 and nothing: 0.8 s of 4, and 0.1 of them."""
    global OWN
    OWN = iter((5.0, 5.6, 6.0, 6.6))
    found = Bystanders([0])
    for stolen in (10, 0):
        stat.write_text(BEFORE, encoding="ascii")
        with found.watching([1]):
            stat.write_text(AFTER.replace("5090 60 0 10 20", f"5090 60 0 {30 - stolen} {stolen}"), encoding="ascii")
    assert found.share == pytest.approx(0.2)
    assert (found._total, found._stolen) == pytest.approx((4.0, 0.1))


def test_who_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with brackets in its name, 2.5 s in its own code and 0.5 s in the kernel; one that has ended."""
    text = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 200 3 4 250 50 70 80 20 0 1 0 100\n"
    (tmp_path / "_proc_7_stat").write_text(text, encoding="ascii")
    monkeypatch.setattr(bystanders, "Path", lambda name: tmp_path / name.replace("/", "_"))
    monkeypatch.setattr(bystanders, "_ticks", lambda: 100)
    assert bystanders._own_seconds([7, 8]) == 3.0


def test_this_process_is_one_of_ours(stat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(bystanders, "_own_seconds", lambda processes: asked.append(tuple(processes)) or 0.0)
    found = Bystanders([0])
    stat.write_text(BEFORE, encoding="ascii")
    found.begin_launch()
    with found.watching([11, 12]):
        found.disturb([turn(0, 100)], [11])
    ours = os.getpid()
    assert asked == [(ours,), (11, 12, ours), (11, ours), (11, 12, ours)]


@pytest.mark.usefixtures("this_machine_counts")
def test_a_launch_waits_for_itself_alone(stat: Path) -> None:
    """In the first launch its threads waited 4 s while others ran for 1; in the second 2 s while others ran for 0.5."""
    global OWN
    OWN = iter((5.0, 5.0, 5.0, 5.5))
    found = Bystanders([0])
    for waited in (4000, 2000):
        stat.write_text(BEFORE, encoding="ascii")
        found.begin_launch()
        stat.write_text(AFTER, encoding="ascii")
        assert found.disturb([turn(waited, 5000)], [1]) is True


@pytest.mark.usefixtures("this_machine_counts")
def test_what_threads_waited_adds_up_within_a_launch(stat: Path) -> None:
    # Others ran for 1 s in all: a quarter of the 4 s that the first round waited, and less than one of 4 and 2.
    global OWN
    OWN = iter((5.0, 5.0, 5.0))
    found = Bystanders([0])
    stat.write_text(BEFORE, encoding="ascii")
    found.begin_launch()
    stat.write_text(AFTER, encoding="ascii")
    assert [found.disturb([turn(waited, 5000)], [1]) for waited in (4000, 2000)] == [True, False]


@pytest.mark.usefixtures("this_machine_counts")
@pytest.mark.parametrize(("disturbed", "told"), [(24, False), (25, True), (26, True)])
def test_a_table_stands_as_long_as_its_fastest_rounds_were_quiet(disturbed: int, told: bool) -> None:
    found = Bystanders([0])
    for number in range(100):
        found.keep(number < disturbed)
    assert company_of(found, 0.25) == {"foreign_share": None, "disturbed": told}


def test_a_table_without_rounds_is_judged_as_a_whole(stat: Path) -> None:
    assert company_of(Bystanders([0]), 0.25) == {"foreign_share": None, "disturbed": None}
    global OWN
    OWN = iter((5.0, 5.0))
    found = Bystanders([0])
    stat.write_text(BEFORE, encoding="ascii")
    with found.watching([1]):
        stat.write_text(AFTER, encoding="ascii")
    found.keep(None)
    assert company_of(found, 0.25) == {"foreign_share": pytest.approx(0.5), "disturbed": True}


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


def turn(waited_ms: float, wall_ms: float) -> Waits:
    return Waits(round(waited_ms * 1e6), round(wall_ms * 1e6))


# Recorded on two cores beside others' work, a model against itself: in a round, milliseconds that the threads of each
# of the two waited, and that its turn took; and by how much the two were apart.
ROUNDS = [
    (((0.08, 24.97), (0.01, 25.31)), False),  # 1%
    (((0.62, 25.63), (0.09, 29.73)), False),  # 0.1%
    (((0.00, 25.62), (2.36, 27.25)), True),  # 14%
    (((4.09, 29.61), (0.03, 25.51)), True),  # 27%
    (((12.14, 38.72), (21.10, 48.29)), True),  # 16%
    (((46.27, 51.19), (16.60, 32.53)), True),  # two threads each; 92%
]


@pytest.mark.usefixtures("this_machine_counts")
@pytest.mark.parametrize(("waits", "disturbed"), ROUNDS)
def test_recorded_rounds(waits: tuple[tuple[float, float], ...], disturbed: bool) -> None:
    assert is_disturbed([turn(*one) for one in waits], others=1.0, waited=0.04) is disturbed


@pytest.mark.usefixtures("this_machine_counts")
def test_from_a_twentieth_on_a_turn_is_disturbed() -> None:
    assert is_disturbed([turn(4.99, 100)], others=1.0, waited=0.005) is False
    assert is_disturbed([turn(5.0, 100)], others=1.0, waited=0.005) is True
    # Half of a millisecond is what waking up may take, however short the turn.
    assert is_disturbed([turn(0.49, 2)], others=1.0, waited=0.0005) is False
    assert is_disturbed([turn(0.5, 2)], others=1.0, waited=0.0005) is True
    # One turn of the round is enough: both are thrown away.
    assert is_disturbed([turn(0, 100), turn(30, 100)], others=1.0, waited=0.03) is True


@pytest.mark.usefixtures("this_machine_counts")
def test_threads_that_wait_for_each_other_are_no_foreign_load() -> None:
    """A container's quota, or two threads on one core: 2 s waited, and nobody else ran for longer than the clock's
    grain."""
    assert is_disturbed([turn(400, 900)], others=0.02, waited=2.0) is False
    assert is_disturbed([turn(400, 900)], others=0.49, waited=2.0) is False
    assert is_disturbed([turn(400, 900)], others=0.5, waited=2.0) is True
    # The two clocks differ: a little less than nothing.
    assert is_disturbed([turn(400, 900)], others=-0.03, waited=2.0) is False
    # Who else ran is not known everywhere; then waiting alone speaks.
    assert is_disturbed([turn(400, 900)], others=None, waited=2.0) is True


def test_a_worker_that_does_not_say_leaves_it_open() -> None:
    assert is_disturbed([turn(0, 100), None], others=1.0, waited=0.0) is None
    assert is_disturbed([None, None], others=None, waited=0.0) is None


def test_the_measurement_as_a_whole() -> None:
    found = Bystanders([0])
    assert found.disturbed is None
    for disturbed in (False, False, False):
        found.keep(disturbed)
    assert (found.disturbed, found.disturbed_rounds, found.kept) == (False, 0, 3)
    found.keep(True)
    assert (found.disturbed, found.disturbed_rounds, found.kept) == (True, 1, 4)
    found.keep(None)
    # From here on the share alone can tell, and too little time has passed for that.
    assert (found.disturbed, found.disturbed_rounds, found.kept) == (None, None, 5)
    found.keep(True)
    assert found.disturbed_rounds is None


def test_where_rounds_are_not_told_apart_the_share_judges(stat: Path) -> None:
    global OWN
    OWN = iter((5.0, 5.0, 5.0, 5.0))
    found = Bystanders([0])
    stat.write_text(BEFORE, encoding="ascii")
    with found.watching([1]):
        stat.write_text(AFTER, encoding="ascii")
    found.keep(None)
    assert found.share == pytest.approx(0.5) and found.disturbed is True


@pytest.mark.parametrize(("ours", "disturbed"), [(0.75, True), (0.875, False)])
def test_from_a_tenth_of_the_processors_on_it_is_no_evidence(stat: Path, ours: float, disturbed: bool) -> None:
    # Of 2 s others ran for 0.25 or 0.125; a hypervisor took nothing.
    global OWN
    OWN = iter((5.0, 5.0 + ours))
    found = Bystanders([0])
    stat.write_text(BEFORE, encoding="ascii")
    with found.watching([1]):
        stat.write_text(AFTER.replace("5090 60 0 10 20", "5090 60 0 30 0"), encoding="ascii")
    found.keep(None)
    assert found.disturbed is disturbed


@pytest.mark.usefixtures("this_machine_counts")
@pytest.mark.parametrize(("stolen", "disturbed"), [(20, True), (19, False)])
def test_what_a_hypervisor_takes_no_queue_shows(stat: Path, stolen: int, disturbed: bool) -> None:
    """Of two seconds, in hundredths."""
    global OWN
    OWN = iter((5.0, 5.8))
    found = Bystanders([0])
    stat.write_text(BEFORE, encoding="ascii")
    with found.watching([1]):
        stat.write_text(AFTER.replace("5090 60 0 10 20", f"{5110 - stolen} 60 0 10 {stolen}"), encoding="ascii")
    found.keep(False)
    assert found.disturbed is disturbed


@pytest.mark.usefixtures("this_machine_counts")
def test_others_count_from_the_beginning_of_a_launch(stat: Path) -> None:
    """1 s of the 2 that passed others ran, 0.8 s of it in the second case were ours."""
    for ours, disturbed in (((5.0, 5.0), True), ((5.0, 5.8), False)):
        global OWN
        OWN = iter(ours)
        found = Bystanders([0])
        stat.write_text(BEFORE, encoding="ascii")
        found.begin_launch()
        stat.write_text(AFTER, encoding="ascii")
        assert found.disturb([turn(1000, 1500)], [1]) is disturbed


SPIN = "import os, sys, time; os.sched_setaffinity(0, {int(sys.argv[1])}); print(1, flush=True)\nwhile True: pass"


@pytest.mark.usefixtures("this_machine_counts")
@pytest.mark.skipif(read_counters() is None, reason="only Linux counts what threads wait")
def test_a_process_that_spins_beside_a_worker_is_seen(doubling: Candidate, tmp_path: Path) -> None:
    """Both on one processor: the worker gets about half of it."""
    (cpu, *_), path = allowed_cpus(), tmp_path / "batches.npz"
    save_batches([{"x": np.ones((1, 40_000), dtype=np.float32)}], path)
    long = {"time": [0] * 2000, "warmup": 0}
    watch = Bystanders([cpu])
    watch.begin_launch()
    with Worker(doubling, path) as worker:
        command = [sys.executable, "-c", SPIN, str(cpu)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as spinner:
            try:
                assert spinner.stdout is not None and spinner.stdout.readline()
                rounds = []
                for _ in range(4):
                    waits = Waits(*worker.ask(long)["waits"])
                    rounds.append(watch.disturb([waits], [worker.pid]))
            finally:
                spinner.kill()
    # Each turn is several time slices long; the first may begin before the spinner is where it should be.
    assert sum(disturbed is True for disturbed in rounds) >= 3
