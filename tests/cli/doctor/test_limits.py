"""Control groups as the kernel shows them, in both versions, made by hand."""

from __future__ import annotations

from pathlib import Path

from compress.cli.doctor.limits import cpu_limit, memory_limit


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_least_of_the_groups_above_counts(tmp_path: Path) -> None:
    own = _write(tmp_path / "membership", "0::/slice/container\n")
    root = tmp_path / "cgroup"
    _write(root / "slice/container/cpu.max", "400000 100000\n")
    _write(root / "slice/cpu.max", "150000 100000\n")
    _write(root / "slice/container/memory.max", "max\n")
    _write(root / "slice/memory.max", "2000000000\n")
    assert cpu_limit(root, own) == 1.5
    assert memory_limit(root, own) == 2_000_000_000


def test_no_limit(tmp_path: Path) -> None:
    own = _write(tmp_path / "membership", "0::/\n")
    _write(tmp_path / "cgroup/cpu.max", "max 100000\n")
    assert cpu_limit(tmp_path / "cgroup", own) is None
    assert memory_limit(tmp_path / "cgroup", own) is None


def test_the_first_version(tmp_path: Path) -> None:
    own = _write(tmp_path / "membership", "3:cpu,cpuacct:/docker/abc\n2:memory:/docker/abc\n1:name=systemd:/\n")
    root = tmp_path / "cgroup"
    # A container sees its own group at the root, whatever the path says.
    _write(root / "cpu,cpuacct/cpu.cfs_quota_us", "50000\n")
    _write(root / "cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    _write(root / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert cpu_limit(root, own) == 0.5
    assert memory_limit(root, own) is None
    _write(root / "cpu,cpuacct/cpu.cfs_quota_us", "-1\n")
    assert cpu_limit(root, own) is None


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path / "nothing", tmp_path / "none") is None
