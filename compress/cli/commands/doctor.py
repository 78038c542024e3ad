"""The command `compress-doctor`: what of this machine makes runs slow or wrong, and what to do about it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.cli.commands.paths import path
from compress.cli.version import FLAG, version
from compress.report.terminal import terminal

if TYPE_CHECKING:
    from rich.console import Console

    from compress.cli.doctor.facts import Facts
    from compress.cli.doctor.findings import Finding

COLOURS = {"wrong": "bold red", "slow": "yellow", "note": "cyan"}
GIGABYTE = 1e9


def main() -> None:
    """Run the command line and exit: 0, or 1 where something would make runs wrong; 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="compress-doctor",
        description="Look at this machine and installation, time a small model against itself (10 to 30 seconds), and "
        "say what will be slow or wrong, why, and what to do. Exit status 1 where something would make runs wrong.",
    )
    parser.add_argument(FLAG, action="version", version=version())
    parser.add_argument("--store", type=path, metavar="DIR", help="where finished work is kept (default: the recipes')")
    parser.add_argument("--json", action="store_true", help="print facts and findings as JSON")
    arguments = parser.parse_args()

    from compress.cli.config import compose_settings

    # Torch takes seconds to import; --help does not wait for it.
    from compress.cli.doctor.examine import examine
    from compress.cli.doctor.findings import diagnose

    facts = examine(arguments.store or Path(compose_settings("quickstart").store))
    findings = diagnose(facts)
    if arguments.json:
        told = {"facts": dataclasses.asdict(facts), "findings": [dataclasses.asdict(finding) for finding in findings]}
        print(json.dumps(told, indent=2, ensure_ascii=False, default=_plain))
    else:
        _show(terminal(highlight=False), facts, findings)
    sys.exit(1 if any(finding.severity == "wrong" for finding in findings) else 0)


def _show(console: Console, facts: Facts, findings: list[Finding]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines_of(facts):
        table.add_row(Text(name), Text(value))
    console.print(table)
    console.print()
    for finding in findings:
        console.print(Text.assemble((f"{finding.severity:<5}  ", COLOURS[finding.severity]), (finding.what, "bold")))
        console.print(Padding(Text(finding.why), (0, 0, 0, 7)))
        console.print(Padding(Text(f"To do: {finding.way_out}", style="dim"), (0, 0, 0, 7)))
    wrong = sum(finding.severity == "wrong" for finding in findings)
    slow = sum(finding.severity == "slow" for finding in findings)
    verdict = "Nothing here makes runs wrong" if wrong == 0 else f"Runs would go wrong for {_count(wrong)}"
    console.print(f"\n{verdict}; {'nothing' if slow == 0 else _count(slow)} will cost time or certainty.")


def lines_of(facts: Facts) -> list[tuple[str, str]]:
    """The facts as names and words, in the order in which they are printed."""
    processor, memory = facts.processor, facts.memory
    limit = "no limit" if processor.limit is None else f"{processor.limit:g} cores' time"
    lines = [
        ("system", facts.platform),
        ("processor", f"{processor.name}: {', '.join(sorted(processor.flags)) or 'no flag that matters here'}"),
        ("cores", f"{processor.cores}, this process may use {processor.allowed}; control group: {limit}"),
        ("threads", ", ".join(f"{name} {count}" for name, count in _threads(facts).items())),
        ("in use by others", f"{processor.busy:.1f} of {processor.allowed} cores"),
        ("A against A", _noise(facts)),
        (
            "memory",
            f"{memory.available / GIGABYTE:.1f} of {memory.total / GIGABYTE:.1f} GB free; control group: "
            + ("no limit" if memory.limit is None else f"{memory.limit / GIGABYTE:.1f} GB"),
        ),
    ]
    for place in facts.places:
        lines.append(
            (place.purpose, f"{place.free / GIGABYTE:.1f} of {place.total / GIGABYTE:.1f} GB free: {place.path}")
        )
    lines.append(("GPU", ", ".join(facts.gpus) or "none; training is the CPU's"))
    needed = [need for need in facts.requirements if need.extra is None]
    lines.append(("packages", ", ".join(f"{need.package} {need.installed or 'missing'}" for need in needed)))
    extras: dict[str, list[str]] = {}
    for need in facts.requirements:
        if need.extra is not None:
            extras.setdefault(need.extra, []).append(f"{need.package} {need.installed or 'missing'}")
    for extra, packages in extras.items():
        lines.append((f"compress[{extra}]", ", ".join(packages)))
    if facts.openvino_precision is not None:
        lines.append(("OpenVINO by itself", f"computes in {facts.openvino_precision}"))
    lines.append(("without network", "HF_HUB_OFFLINE is set" if facts.offline else "only data=hub needs one"))
    lines.append(("report's plots", "drawn without a screen" if facts.draws is None else facts.draws))
    return lines


def _threads(facts: Facts) -> dict[str, Any]:
    return {**facts.threads, **facts.thread_variables}


def _noise(facts: Facts) -> str:
    noise = facts.noise
    if noise is None:
        return str(facts.noise_problem)
    low, high = noise.interval
    inside = "contains 1" if low <= 1 <= high else "does not contain 1"
    return (
        f"{noise.ratio:.3f} [{low:.3f}, {high:.3f}], which {inside}; drift {noise.drift - 1:+.1%}, p90 "
        f"{noise.spread:.2f} times p50 of {noise.milliseconds:.2f} ms; the clock's step {facts.timer_step_ns} ns"
    )


def _count(number: int) -> str:
    return "one thing" if number == 1 else f"{number} things"


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)


if __name__ == "__main__":
    main()
