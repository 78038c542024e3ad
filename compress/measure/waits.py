"""How long threads waited for a processor while they worked: what tells a disturbed turn from a quiet one.

Linux counts it for each thread, in nanoseconds: `/proc/PID/task/THREAD/schedstat` holds how long it ran, how long it
was ready to run and waited in a processor's queue, and how often it ran. Source: the kernel's
Documentation/scheduler/sched-stats.rst. A worker reads its own, right before and right after what is timed: what starts
and ends a turn, such as the process that asks for it, is not in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OWN_TASKS = Path("/proc/self/task")
# By a thread's number: nanoseconds that it ran, and nanoseconds that it waited.
Counters = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Waits:
    """Of the threads of one process in one turn.

    waited_ns: of all of them together. wall_ns: how long the turn took.
    """

    waited_ns: int
    wall_ns: int

    @property
    def share(self) -> float:
        """How much of the turn may be lost: the threads of a model wait for each other at the end of every product, so
        that what any of them loses may be lost for all. An upper bound: they may also have waited at once."""
        return self.waited_ns / self.wall_ns if self.wall_ns else 0.0


def read_counters(tasks: Path = OWN_TASKS) -> Counters | None:
    """Of the threads in a folder of /proc; None where the system counts nothing, or shows zeros of one that has run."""
    if not tasks.is_dir():
        return None
    found = {}
    for task in tasks.iterdir():
        # A thread may end between two looks, and a kernel may be built without these counters.
        with contextlib.suppress(OSError, ValueError):
            ran, waited, _ = (task / "schedstat").read_text(encoding="ascii").split()
            found[task.name] = int(ran), int(waited)
    return found if any(ran for ran, _ in found.values()) else None


def waits_between(before: Counters | None, after: Counters | None, wall_ns: int) -> Waits | None:
    """What the threads waited between two looks that lie so far apart; None where nobody knows.

    Threads that began since count from their beginning. How long they ran is not looked at: the kernel adds to that at
    its clock's ticks, some milliseconds late, and to what they waited at once.
    """
    if before is None or after is None:
        return None
    waited = sum(waited - before.get(thread, (0, 0))[1] for thread, (_, waited) in after.items())
    return Waits(waited_ns=waited, wall_ns=wall_ns)
