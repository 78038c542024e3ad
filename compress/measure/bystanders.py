"""What else ran on the processors while something was timed: a measurement that was not alone should say so.

Linux counts busy time for each processor in /proc/stat; other systems are not asked, and nothing is known there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

STAT = Path("/proc/stat")
# An idle desktop's own work takes a few percent, and so does the grain of the kernel's clock. At a tenth, a turn in ten
# is shared with somebody, and more than the medians over rounds can leave out.
DISTURBING_SHARE = 0.1
# Times are counted in hundredths of a second: of less than half a second they say nothing.
SHORTEST_SECONDS = 0.5


class Bystanders:
    """The share of processor time that other processes took during `watching` blocks."""

    def __init__(self, cpus: Sequence[int]) -> None:
        """cpus: the numbers of the processors that timed work runs on."""
        self._cpus = cpus
        self._total = self._foreign = 0.0

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

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where it is not known, or too little time has passed to tell."""
        if self._total < SHORTEST_SECONDS * len(self._cpus):
            return None
        return min(1.0, max(0.0, self._foreign / self._total))


def disturbance(share: float | None, processors: int, what: str) -> str | None:
    """How much others took of so many processors while `what`, a sentence's beginning; None where that is little, or
    nobody knows."""
    if share is None or share < DISTURBING_SHARE:
        return None
    where = "the processor" if processors == 1 else f"the {processors} processors"
    return f"while {what}, other processes used {share:.0%} of {where}"


def _processor_seconds(cpus: Sequence[int]) -> tuple[float, float] | None:
    """Seconds that these processors were busy (or taken away by a hypervisor), and all seconds, since the start."""
    lines = [line.split() for line in STAT.read_text(encoding="ascii").splitlines()]
    wanted = {f"cpu{number}" for number in cpus}
    rows = [[int(value) for value in values[:8]] for name, *values in lines if name in wanted]
    if len(rows) != len(wanted) or any(len(row) < 8 for row in rows):
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal: see proc(5).
    busy = sum(sum(row) - row[3] - row[4] for row in rows)
    return busy / _ticks(), sum(map(sum, rows)) / _ticks()


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
