"""What else ran on the processors while something was timed: a measurement that was not alone is no evidence.

Two witnesses, both of Linux. Each worker says how long its threads waited for a processor in each turn (`waits.py`):
that tells which rounds were disturbed, so that these can be taken again. And /proc/stat counts busy time for each
processor: that tells whether others ran at all, or the worker's own threads waited for each other. Where the first is
missing, the second judges the measurement as a whole; where both are, nothing is known.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

from compress.measure.waits import Waits

STAT = Path("/proc/stat")
# A turn is disturbed where its threads waited for as much of it as this. A model against itself, round by round, on two
# cores beside others' work (2026-11-29, 150 rounds with one thread and 150 with two), by the larger share of the two
# turns, and the logarithm of their ratio (root mean square): 75 rounds below 0.03, 0.04; 5 from 0.05 to 0.1, 0.13; 69
# from 0.1 to 0.3, 0.23; 151 above, 0.39.
DISTURBING_WAIT = 0.05
# Being woken takes a thread some microseconds in a queue, also on a machine with nothing else to do.
LEAST_WAIT_NS = 500_000
# Where others ran for less than this share of what our threads waited, these waited for each other, or for the quota
# of a container: that is how this machine is, and not what others do to it.
LEAST_OTHERS = 0.25
# An idle desktop's own work takes a few percent, and so does the grain of the kernel's clock. At a tenth, a turn in ten
# is shared with somebody, and more than the medians over rounds can leave out.
DISTURBING_SHARE = 0.1
# Of the processors' time, what a hypervisor gave to other machines: no thread of ours waits in a queue meanwhile.
DISTURBING_STEAL = 0.1
# Times are counted in hundredths of a second: of less than half a second they say nothing.
SHORTEST_SECONDS = 0.5


def is_disturbed(turns: Sequence[Waits | None], *, others: float | None, waited: float) -> bool | None:
    """Whether a round of these turns, one for each candidate, was disturbed by others; None where nobody knows.

    others, waited: the seconds that others ran on the processors since the launch began (None where nobody knows), and
    that our threads waited in all of its turns so far, this round's among them.
    """
    known = [turn for turn in turns if turn is not None]
    if len(known) < len(turns):
        return None
    if not any(turn.share >= DISTURBING_WAIT and turn.waited_ns >= LEAST_WAIT_NS for turn in known):
        return False
    return others is None or others >= LEAST_OTHERS * waited


class Bystanders:
    """What others did to a measurement: the share of processor time that they took during `watching` blocks, and how
    many rounds they disturbed.

    kept, disturbed_rounds: how many rounds the measurement is made of, and how many of these were disturbed; None where
    nobody knows of all of them. repeated_rounds: how many were thrown away and taken again; left_out_rounds: how many
    were thrown away and not.
    """

    def __init__(self, cpus: Sequence[int]) -> None:
        """cpus: the numbers of the processors that timed work runs on."""
        self._cpus = cpus
        self._total = self._foreign = self._stolen = 0.0
        self._began: tuple[float, float] | None = None
        self._waited = 0.0
        self.kept = self.repeated_rounds = self.left_out_rounds = 0
        self.disturbed_rounds: int | None = 0

    def begin_launch(self) -> None:
        """Before the processes of a launch are started, which count from their beginning."""
        seconds = _processor_seconds(self._cpus) if STAT.exists() else None
        self._began = None if seconds is None else (seconds[0], _own_seconds((os.getpid(),)))
        self._waited = 0.0

    def disturb(self, turns: Sequence[Waits | None], processes: Sequence[int]) -> bool | None:
        """Whether the round that has just ended was disturbed: see `is_disturbed`. processes: as in `watching`."""
        self._waited += sum(turn.waited_ns for turn in turns if turn is not None) / 1e9
        return is_disturbed(turns, others=self._others(processes), waited=self._waited)

    def keep(self, disturbed: bool | None) -> None:
        """A round becomes part of the measurement."""
        self.kept += 1
        if disturbed is None or self.disturbed_rounds is None:
            self.disturbed_rounds = None
        else:
            self.disturbed_rounds += disturbed

    @contextlib.contextmanager
    def watching(self, processes: Sequence[int]) -> Iterator[None]:
        """Count what happens inside. processes: the numbers of those that belong to the measurement, beside this."""
        if not STAT.exists():
            yield
            return
        own = (*processes, os.getpid())
        before, ours_before = _processor_seconds(self._cpus), _own_seconds(own)
        yield
        after, ours_after = _processor_seconds(self._cpus), _own_seconds(own)
        if before is not None and after is not None:
            self._total += after[1] - before[1]
            self._foreign += (after[0] - before[0]) - (ours_after - ours_before)
            self._stolen += after[2] - before[2]

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where it is not known, or too little time has passed to tell."""
        if self._total < SHORTEST_SECONDS * len(self._cpus):
            return None
        return min(1.0, max(0.0, self._foreign / self._total))

    @property
    def disturbed(self) -> bool | None:
        """Whether what was measured is no evidence: a round that is part of it was disturbed, or a hypervisor took a
        tenth of the processors, or, where no round can be told from another, others did. None where nobody knows."""
        if self.share is not None and self._stolen >= DISTURBING_STEAL * self._total:
            return True
        if self.disturbed_rounds is not None and self.kept:
            return self.disturbed_rounds > 0
        return None if self.share is None else self.share >= DISTURBING_SHARE

    def _others(self, processes: Sequence[int]) -> float | None:
        """Seconds that others ran on the processors since the launch began."""
        if self._began is None:
            return None
        now = _processor_seconds(self._cpus)
        ours = _own_seconds((*processes, os.getpid())) - self._began[1]
        return None if now is None else now[0] - self._began[0] - ours


class Company(TypedDict):
    """What other processes did while a latency table was measured: see LatencyTable."""

    foreign_share: float | None
    disturbed: bool | None


def company_of(bystanders: Bystanders, counted: float) -> Company:
    """counted: of each part's rounds this share counts, the fastest: it moves little as long as fewer than that were
    disturbed."""
    rounds, kept = bystanders.disturbed_rounds, bystanders.kept
    disturbed = bystanders.disturbed if rounds is None or not kept else rounds >= counted * kept
    return {"foreign_share": bystanders.share, "disturbed": disturbed}


def disturbance(share: float | None, processors: int, what: str) -> str | None:
    """How much others took of so many processors while `what`, a sentence's beginning; None where that is little, or
    nobody knows."""
    if share is None or share < DISTURBING_SHARE:
        return None
    where = "the processor" if processors == 1 else f"the {processors} processors"
    return f"while {what}, other processes used {share:.0%} of {where}"


def _processor_seconds(cpus: Sequence[int]) -> tuple[float, float, float] | None:
    """Seconds that these processors were busy (or taken away by a hypervisor), all seconds, and those that a hypervisor
    took away, since the start."""
    lines = [line.split() for line in STAT.read_text(encoding="ascii").splitlines()]
    wanted = {f"cpu{number}" for number in cpus}
    rows = [[int(value) for value in values[:8]] for name, *values in lines if name in wanted]
    if len(rows) != len(wanted) or any(len(row) < 8 for row in rows):
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal: see proc(5).
    busy = sum(sum(row) - row[3] - row[4] for row in rows)
    return busy / _ticks(), sum(map(sum, rows)) / _ticks(), sum(row[7] for row in rows) / _ticks()


def _own_seconds(processes: Sequence[int]) -> float:
    total = 0
    for number in processes:
        with contextlib.suppress(OSError):
            # The name before it may contain anything, a bracket too.
            values = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            total += sum(int(value) for value in values.split()[11:13])
    return total / _ticks()


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")
