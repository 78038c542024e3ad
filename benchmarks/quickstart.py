"""The quickstart from an empty store, as a Markdown table with the machine it ran on."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> int:
    """Run `compress` and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the run here")
    parser.add_argument("overrides", nargs="*", help="settings, as for the command `compress`")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "run"
        command = [str(Path(sys.executable).parent / "compress"), f"hydra.run.dir={folder}"]
        started = time.monotonic()
        subprocess.run([*command, f"store={temporary}/store", *arguments.overrides], check=True)
        seconds = time.monotonic() - started
        rows = [json.loads(line) for line in (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    print(f"\n{table(rows)}\n\n{conclusion(summary)}\n\n{machine(summary, seconds)}")
    return 0


def table(rows: list[dict[str, Any]]) -> str:
    """The ledger in Markdown."""
    lines = [
        "| stage | accuracy | against the teacher, points | p50 / p90, ms | speed-up | vs PyTorch | MB | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        interval, factor = row["accuracy_interval"], row["speedup_interval"]
        difference = (
            ""
            if interval is None
            else f"{points(row['accuracy_difference'])} [{points(interval[0])}, {points(interval[1])}]"
        )
        speedup = f"{row['speedup']:.2f}" + ("" if factor is None else f" [{factor[0]:.2f}, {factor[1]:.2f}]")
        lines.append(
            f"| {row['stage']} | {row['accuracy']:.1%} | {difference} | {row['latency_ms_p50']:.2f} / "
            f"{row['latency_ms_p90']:.2f} | {speedup} | {row['speedup_vs_torch']:.1f} | "
            f"{row['size_bytes'] / 1e6:.1f} | {row['verdict']}, {row['decision']} |"
        )
    return "\n".join(lines)


def conclusion(summary: dict[str, Any]) -> str:
    """Teacher and student on the test split."""
    teacher, student = summary["teacher"], summary["student"]
    test = student["test"]
    low, high = test["interval"]
    return (
        f"Test split ({test['examples']} examples): teacher {teacher['test']['accuracy']:.1%}, student "
        f"{test['accuracy']:.1%}, difference {points(test['difference'])} [{points(low)}, {points(high)}] points. "
        f"{teacher['size_bytes'] / student['size_bytes']:.1f} times smaller."
    )


def machine(summary: dict[str, Any], seconds: float) -> str:
    """Where this was measured."""
    found = summary["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"{found['threads']} threads of {found['cpu']} ({', '.join(found['cpu_flags'])}); {versions}; {seconds:.0f} s."
    )


def points(fraction: float) -> str:
    """A fraction as signed percentage points."""
    return f"{fraction * 100:+.1f}"


if __name__ == "__main__":
    sys.exit(main())
