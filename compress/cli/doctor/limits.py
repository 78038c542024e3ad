"""What a control group allows: a container's share of processors and memory, which affinity does not show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
# Version 1 writes a number near 2**63 for no limit.
UNLIMITED = 2**60


def cpu_limit(mounted: Path = MOUNTED, membership: Path = MEMBERSHIP) -> float | None:
    """Cores' worth of processor time, the least that any group above us allows, or None where none sets a limit.

    Source: the kernel's documentation of cgroup-v2 (`cpu.max`) and of version 1 (`cpu.cfs_quota_us`).
    """
    limits = []
    for folder in _folders(mounted, membership, "cpu"):
        whole = _read(folder / "cpu.max").split()
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if len(whole) == 2 and whole[0] != "max":
            limits.append(int(whole[0]) / int(whole[1]))
        elif quota and period and int(quota) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_limit(mounted: Path = MOUNTED, membership: Path = MEMBERSHIP) -> int | None:
    """Bytes, the least that any group above us allows, or None where none sets a limit."""
    limits = []
    for folder in _folders(mounted, membership, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit() and int(text) < UNLIMITED:
                limits.append(int(text))
    return min(limits, default=None)


def _folders(mounted: Path, membership: Path, controller: str) -> Iterator[Path]:
    """The groups that this process is in, from its own up to the root, for one controller."""
    for line in _read(membership).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "" or controller in controllers.split(","):
            root = mounted if controllers == "" else mounted / controllers
            own = root / name.strip("/")
            yield own
            # Inside a container the path may be one that only the host sees; then the root itself is ours.
            yield from (parent for parent in own.parents if parent.is_relative_to(root))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
