"""Keep what a finished run found, for the tables that README and docs show.

python -m benchmarks.record RUN NAME --command "compress -cn ..."

Writes benchmarks/results/NAME.json: the command, the date, the commit, the machine, the versions, and a row for each
stage, with their intervals. `python -m benchmarks.render` then writes them into the pages.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from compress.core.ledger import Row
from compress.core.run_files import LEDGER, SUMMARY
from compress.core.runtime import Runtime
from compress.measure.environment import describe_machine, describe_processor
from compress.pipeline.sources import sources_of

RESULTS = Path(__file__).parent / "results"
SCRIPTS = "benchmarks."
# What keeps and writes results has no part in them.
WRITING = (f"{SCRIPTS}record", f"{SCRIPTS}render")
# Sentences and names of artifacts belong to the run's own page.
MACHINE = ("cpu", "cpu_flags", "threads", "platform")
LEFT_OUT = ("artifact", "reasons", "notes", "blame", "findings", "missed", "figures", "bytes_by_part", "reused")


def main() -> int:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("name", help="of the file in benchmarks/results, without .json")
    parser.add_argument("--command", required=True, help="as somebody else would type it, from an empty folder")
    arguments = parser.parse_args()
    told = found(arguments.run, arguments.command)
    print(f"{keep(told, arguments.name)}: {len(told['rows'])} stages")
    return 0


def keep(told: dict[str, Any], name: str) -> Path:
    """Write a file of results. Returns its path."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def found(run: Path, command: str) -> dict[str, Any]:
    """What a run's ledger and summary say. Raises SystemExit for a run that did not end."""
    if not (run / SUMMARY).is_file():
        raise SystemExit(f"{run} has no {SUMMARY}: the run has not ended, or this is no run's folder.")
    summary = json.loads((run / SUMMARY).read_text(encoding="utf-8"))
    rows = [Row.from_json(json.loads(line)) for line in (run / LEDGER).read_text(encoding="utf-8").splitlines()]
    ended = datetime.datetime.fromtimestamp((run / SUMMARY).stat().st_mtime, datetime.UTC)
    environment = summary["environment"]
    modules = sorted(set(modules_in(summary["settings"])))
    return {
        "command": command,
        "date": ended.date().isoformat(),
        "commit": commit(),
        "machine": {name: environment[name] for name in MACHINE},
        "versions": environment["versions"],
        "seed": summary["seed"],
        "seconds": round(summary["seconds"]),
        "objective": summary["objective"],
        "examples": summary["examples"],
        "rows": [{name: told for name, told in row.to_json().items() if name not in LEFT_OUT} for row in rows],
        "teacher": {"test": summary["teacher"]["test"]},
        "student": None if summary["student"] is None else {"test": summary["student"]["test"]},
        "exported": summary["exported"] and {name: summary["exported"][name] for name in ("stage", "proven")},
        "modules": modules,
        "sources": digest(modules),
    }


def simulated_facts(module: str, seed: int, **settings: Any) -> dict[str, Any]:
    """What stands above the rows of a simulation: its command, the date, the versions, the processor."""
    return {
        "command": command_of(module),
        "date": datetime.date.today().isoformat(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        "processor": describe_processor(),
        **code_facts(module),
        "seed": seed,
        **settings,
    }


def command_of(module: str) -> str:
    """What was typed, as somebody else would: a folder of this machine is any folder."""
    return " ".join(
        [f"python -m benchmarks.{module}", *("DIR" if word.startswith("/") else word for word in sys.argv[1:])]
    )


def machine_facts(module: str, runtime: Runtime) -> dict[str, Any]:
    """What stands above the rows of a measurement: its command, the date, the commit, the machine, the versions."""
    environment = describe_machine(runtime)
    return {
        "command": command_of(module),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": {name: environment[name] for name in MACHINE},
        "versions": environment["versions"],
        **code_facts(module),
    }


def code_facts(module: str) -> dict[str, Any]:
    """By which code a benchmark measures: its own modules, as far as they are loaded, and a digest of these and of all
    of ours that they import."""
    loaded = {name for name in sys.modules if name.startswith(SCRIPTS) and not name.startswith(WRITING)}
    modules = sorted({f"{SCRIPTS}{module}", *loaded})
    return {"modules": modules, "sources": digest(modules)}


def modules_in(settings: Any) -> Iterator[str]:
    """The modules of ours that a run's settings name as `_target_`."""
    if isinstance(settings, dict):
        target = settings.get("_target_")
        if isinstance(target, str) and target.startswith("compress."):
            yield target.rpartition(".")[0]
        settings = list(settings.values())
    if isinstance(settings, list):
        for entry in settings:
            yield from modules_in(entry)


def digest(modules: Sequence[str]) -> str:
    """Of the text of all files that these modules are computed by: another one means that code has changed since."""
    scripts = {
        name: Path(__file__).with_name(f"{name.removeprefix(SCRIPTS)}.py")
        for name in modules
        if name.startswith(SCRIPTS)
    }
    found = sources_of([name for name in modules if name not in scripts], scripts.values())
    own = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in scripts.items() if path.is_file()}
    files = sorted((found | own).items())
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def commit() -> str:
    """The one that is checked out, with a + where files differ from it."""
    folder = Path(__file__).parent
    shown = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=folder, capture_output=True, text=True)
    return shown.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
