"""The quickstart's teacher, asked for more speed and for less: what was predicted, measured, and lost.

    python -m benchmarks.speeds --out outputs/speeds

The quickstart itself is asked for ten times; the others learn for ten epochs where it learns for five. What was found
is written to benchmarks/results/speeds.json, from which `python -m benchmarks.render` writes a table. Stopped, it goes
on where it was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.render.contests import SPEEDS
from compress.core.ledger import Row
from compress.core.run_files import SUMMARY
from compress.runtimes.onnxruntime.runtime import OnnxRuntime

LONGER = ("stages.distill.epochs=10", "stages.prune.recovery_epochs=10")
ASKED = (5, 10, 15, 20)


def main() -> int:
    """A run for each speed, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where runs and stores go")
    parser.add_argument("overrides", nargs="*", help="settings for every run; nothing is kept then")
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    runs = [record.found(_run(asked, out, arguments.overrides), "compress") for asked in ASKED]
    told = record.machine_facts("speeds", OnnxRuntime(threads=runs[0]["machine"]["threads"]))
    told |= {"rows": [line(asked, run) for asked, run in zip(ASKED, runs, strict=True)]}
    if not arguments.overrides:
        record.keep(told, "speeds")
    print(SPEEDS(told))
    return 0


def line(asked: float, run: dict[str, Any]) -> dict[str, Any]:
    """Of one run: the model that it exported. Raises SystemExit where it exported none."""
    if run["exported"] is None:
        raise SystemExit(f"{asked:g} times asked: nothing passed its gate, so there is nothing to tell of it.")
    row = next(row for row in map(Row.from_json, run["rows"]) if row.stage == run["exported"]["stage"])
    test = run["student"]["test"]
    return {
        "asked": asked,
        "predicted": row.predicted_speedup,
        "speedup": row.speedup,
        "interval": row.speedup_interval,
        "validation": {"difference": row.difference, "interval": row.interval},
        "test": {"difference": test["difference"], "interval": test["interval"]},
        "size_bytes": row.size_bytes,
        "seconds": run["seconds"],
    }


def _run(asked: float, out: Path, overrides: Sequence[str]) -> Path:
    folder = out / f"{asked:g}"
    if not (folder / SUMMARY).is_file():
        command = [
            str(Path(sys.executable).parent / "compress"),
            f"hydra.run.dir={folder}",
            f"store={out / f'store{asked:g}'}",
        ]
        settings = [] if asked == 10 else [f"objective.speedup={asked:g}", *LONGER]
        subprocess.run([*command, *settings, *overrides], check=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
