"""The processors that a process may use, where the system says so: Linux does, others do not."""

from __future__ import annotations

import os
from collections.abc import Iterable


def allowed_processors() -> list[int] | None:
    """Those that this process may use, in order; None where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def use_only(processors: Iterable[int]) -> None:
    """Let this process use these alone, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)
