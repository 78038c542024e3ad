"""What a contest found, as a Markdown table and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

OURS, OTHERS, LIGHT = "#16794b", "#586473", "#b9c2cc"


def plain(value: Any) -> Any:
    """For json.dumps."""
    return value.item() if isinstance(value, np.generic) else dataclasses.asdict(value)


def table(result: Mapping[str, Any], *, seconds: bool = False) -> str:
    """A line per contender, and where it was measured. seconds: with what each took to make."""
    heads = [
        "model",
        result["metric"],
        f"against {result['reference']}, points",
        "p50 / p90, ms",
        "speed-up",
        f"p50 / p90 at 1 x {result['long_tokens']}, ms",
        "speed-up",
        "MB",
        "memory, MB",
        *(["made in, s"] if seconds else []),
    ]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    for row in result["rows"]:
        low, high = row["interval"]
        cells = [
            f"**{row['name']}**" if row["ours"] else row["name"],
            f"{row['score']:.1%}",
            f"{100 * row['difference']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]",
            *(cell for kind in ("real", "long") for cell in _times(row[kind])),
            f"{row['size_bytes'] / 1e6:.1f}",
            "-" if row["memory_bytes"] is None else f"{row['memory_bytes'] / 1e6:.0f}",
            *(["-" if row["seconds"] is None else f"{row['seconds']:.0f}"] if seconds else []),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n" + _told(result)


def _times(times: Mapping[str, Any]) -> tuple[str, str]:
    low, high = times["interval"]
    return f"{times['p50']:.2f} / {times['p90']:.2f}", f"{times['speedup']:.2f} [{low:.2f}, {high:.2f}]"


def _told(result: Mapping[str, Any]) -> str:
    machine, sampled = result["environment"], result["measurement"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    turns = f"{sampled['launches']} x {sampled['rounds']} turns"
    return (
        f"{result['examples']} examples of the {result['split']} split, compared one by one with "
        f"{result['reference']}; speed-up against {result['baseline']}, {turns}; intervals at "
        f"{result['confidence']:.0%} on each side. MB: what is stored; memory: the most that the process held. "
        f"{result['date']}, {machine['threads']} threads of {machine['cpu']} ({', '.join(machine['cpu_flags'])}), "
        f"{machine['platform']}; {versions}."
    )


def plot(result: Mapping[str, Any], title: str, path: Path) -> None:
    """Speed-up at both lengths, and the difference in accuracy, in the same rows."""
    from matplotlib.figure import Figure

    rows = result["rows"]
    figure = Figure(figsize=(10, 0.8 + 0.48 * len(rows)), layout="constrained")
    speed, accuracy = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for y, row in enumerate(rows):
        colour = OURS if row["ours"] else OTHERS
        for offset, kind, shade in ((-0.2, "real", colour), (0.2, "long", LIGHT)):
            times = row[kind]
            speed.barh(y + offset, times["speedup"], height=0.36, color=shade)
            speed.text(times["speedup"], y + offset, f" {times['speedup']:.2f}", va="center", fontsize=8)
        centre = 100 * row["difference"]
        low, high = (100 * end for end in row["interval"])
        accuracy.plot([low, high], [y, y], color=colour, linewidth=2)
        accuracy.plot([centre], [y], "o", color=colour, markersize=5)
    speed.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=9)
    for label, row in zip(speed.get_yticklabels(), rows, strict=True):
        label.set_color(OURS if row["ours"] else "black")
    speed.invert_yaxis()
    speed.margins(x=0.12)
    speed.set_xlabel(f"times as fast as {result['baseline']}\n(dark: real lengths; light: 1 x {result['long_tokens']})")
    speed.axvline(1, color="black", linewidth=0.8)
    accuracy.axvline(0, color="black", linewidth=0.8)
    accuracy.set_xlabel(f"{result['metric']}, points against\n{result['reference']} ({result['examples']} examples)")
    for axes in (speed, accuracy):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
