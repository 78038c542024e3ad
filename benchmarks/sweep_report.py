"""How long `compress-report` takes over 500 runs, and how large its page is. The run folders are made up.

python benchmarks/sweep_report.py            # 500 runs: at most 5 s and 6 MB
python benchmarks/sweep_report.py --runs 50
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

STAGES = ("distill", "prune", "factorize", "fuse", "quantize")
SPEEDS = {"distill": 2.0, "prune": 1.8, "factorize": 1.05, "fuse": 1.2, "quantize": 1.6}
SETTINGS = {
    "stages.prune.heads": (0.25, 0.5, 0.75),
    "stages.prune.neurons": (0.25, 0.5, 0.75, 1.0),
    "stages.distill.layers": (2, 3, 4),
    "stages.quantize.scheme": ("dynamic", "static"),
    "seed": tuple(range(7)),
}
# As many settings as a real run records; only those above differ.
UNCHANGED = 150


def main() -> None:
    """Make the folders, run the command in a process of its own, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="write the runs and the page here, and leave them")
    given = parser.parse_args()
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        measure(given.keep, given.runs)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given.runs)


def measure(folder: Path, count: int) -> None:
    """Time the whole command, the start of Python included."""
    generator = np.random.default_rng(0)
    for number, values in zip(range(count), itertools.cycle(itertools.product(*SETTINGS.values())), strict=False):
        make_run(folder / "runs" / str(number), number, dict(zip(SETTINGS, values, strict=True)), generator)
    page = folder / "report.html"
    command = [sys.executable, "-P", "-m", "compress.cli.commands.report", str(folder / "runs"), "--out", str(page)]
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - started)
    told = ", ".join(f"{value:.1f}" for value in seconds)
    print(f"{count} runs: {told} s (at most 5), {page.stat().st_size / 1e6:.2f} MB (at most 6)")


def make_run(folder: Path, number: int, values: dict[str, Any], generator: np.random.Generator) -> None:
    """A folder like that of a real run, with numbers that depend on the settings and on chance. One in 25 broke."""
    (folder / ".hydra").mkdir(parents=True)
    rows = [row("teacher", "baseline", f"t{values['seed']}", 0.0, 1.0, 90e6)]
    speed, size, difference = 1.0, 90e6, 0.0
    broke = number % 25 == 24
    for stage in STAGES:
        share = float(values["stages.prune.heads"]) + float(values["stages.prune.neurons"])
        speed *= SPEEDS[stage] * (2 / (0.5 + share) if stage == "prune" else 1.0) * math.exp(generator.normal(0, 0.03))
        size *= {"distill": 0.5 + 0.1 * values["stages.distill.layers"], "prune": 0.7 + 0.15 * share}.get(stage, 0.95)
        size *= {"dynamic": 0.27, "static": 0.28}[values["stages.quantize.scheme"]] if stage == "quantize" else 1.0
        difference += -0.002 / (0.3 + share) + generator.normal(0, 0.001)
        verdict = "passed" if difference > -0.006 else "inconclusive" if difference > -0.01 else "failed"
        rows.append(row(stage, verdict, f"{stage}{number}", difference, speed, size))
    if broke:
        rows[-1] = {**row("quantize", "error", None, None, None, None), "reasons": ["the loss is not finite"]}
    (folder / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows), encoding="utf-8")
    settings = nested({**values, **{f"other.group{i % 10}.setting{i}": i for i in range(UNCHANGED)}})
    settings["objective"] = {"max_accuracy_drop": 0.01}
    overrides = [f"{name}={value}" for name, value in values.items()]
    hydra = {"job": {"config_name": "mine"}, "runtime": {"cwd": "/data"}, "more": nested({"a.b": list(range(200))})}
    for name, content in (("overrides", overrides), ("hydra", {"hydra": hydra}), ("config", settings)):
        (folder / ".hydra" / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    if not broke:
        (folder / "summary.json").write_text(json.dumps(summary(rows[-1], settings), indent=2), encoding="utf-8")


def row(
    stage: str, verdict: str, artifact: str | None, difference: float | None, speed: float | None, size: float | None
) -> dict[str, Any]:
    """One line of a ledger."""
    known = difference is not None and speed is not None and size is not None
    return {
        "stage": stage, "artifact": artifact, "verdict": verdict, "decision": "keep", "notes": [],
        "reasons": ["accuracy -0.0060 [-0.0105, -0.0015], limit -0.0100: 2999 examples cannot tell"],
        "accuracy": 0.9 + difference if known else None, "accuracy_difference": difference,
        "accuracy_interval": [difference - 0.004, difference + 0.004] if known else None,
        "latency_ms_p50": 3.0 / speed if known else None, "latency_ms_p90": 4.0 / speed if known else None,
        "speedup": speed, "speedup_interval": [speed * 0.97, speed * 1.03] if known else None,
        "size_bytes": int(size) if known else None,
    }  # fmt: skip


def summary(last: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What the report reads of a `summary.json`."""
    return {
        "recipe": "mine", "task": {"name": "text_classification"}, "metric": "accuracy", "settings": settings,
        "teacher": {"artifact": "t"}, "exported": {"stage": last["stage"]},
        "examples": {"validation": 900, "test": 700},
        "gates": {stage: {"max_accuracy_drop": 0.01, "min_speedup": None} for stage in STAGES},
        "fingerprints": {"validation": "v", "test": "w"}, "environment": {"cpu": "made up", "threads": 2},
        "student": {"test": {"difference": -0.002, "interval": [-0.006, 0.002], "examples": 700}},
    }  # fmt: skip


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Settings by full name as the tree they are."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, last = name.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return tree


if __name__ == "__main__":
    main()
