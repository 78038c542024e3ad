"""How the threads of torch's products wait for each other while we train: spinning for a moment, then asleep.

By default they spin for milliseconds. Where another process wants the processor, a thread that spins keeps from it the
one that it waits for; one that sleeps at once is late for the next product. benchmarks/waiting.py measures both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# Read by GNU's OpenMP, which torch brings on Linux, when torch loads it. Either may be the user's own.
POLICY, SPINS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
# Tens of microseconds.
BRIEF = "20000"
# Beside the number of spins where it is ours, also in what this process starts.
OURS = "COMPRESS_WAITS_BRIEFLY"


def wait_briefly() -> None:
    """For this process and those that it starts, but to measure. Before torch is loaded: later nobody reads it. What
    the user has set stays."""
    if POLICY not in os.environ and SPINS not in os.environ:
        os.environ[SPINS] = BRIEF
        os.environ[OURS] = "1"


def as_users_wait(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of what is measured: a model is timed as it will be used."""
    left_out = (SPINS, OURS) if OURS in environment else ()
    return {name: value for name, value in environment.items() if name not in left_out}
