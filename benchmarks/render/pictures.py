"""Pictures of the same results: bars of speed-up, and beside each the difference in quality with its interval.

SVG, so that a picture is text, the same to the byte wherever it is drawn, and CI can compare it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.render.table import Result
from compress.core.ledger import Row
from compress.report import wording

OURS, OTHERS, LIGHT, TEXT = "#16794b", "#586473", "#b9c2cc", "#1c2733"
LINE, BARS, DIFFERENCES, GAP, CHARACTER = 30, 330, 230, 50, 7.4


@dataclass(frozen=True)
class Line:
    """speedups: a bar each, the second one light. difference, interval: as the axis counts them; None: not compared."""

    name: str
    ours: bool
    speedups: Sequence[float]
    difference: float | None
    interval: Sequence[float] | None


def of_contest(result: Result) -> str:
    """The models of a contest."""
    lines = [
        Line(
            row["name"].replace("`", ""),
            row["ours"],
            [row["real"]["speedup"], row["long"]["speedup"]],
            100 * row["difference"],
            row["interval"] and [100 * end for end in row["interval"]],
        )
        for row in result["rows"]
    ]
    speed = f"times as fast as {result['baseline']} (light: at 1 x {result['long_tokens']})"
    return drawn(result["title"], speed, f"{result['metric']} against {result['reference']}, points", lines)


def of_stages(result: Result) -> str:
    """The stages of a run that were measured."""
    rows = [Row.from_json(row) for row in result["rows"]]
    unit = rows[0].metric.unit
    lines = [
        Line(
            row.stage,
            row.stage == result["exported"]["stage"],
            [row.speedup],
            None if row.difference is None else wording.on_axis(row.difference, unit),
            None if row.interval is None else [wording.on_axis(end, unit) for end in row.interval],
        )
        for row in rows
        if row.speedup is not None
    ]
    quality = wording.heading(f"{rows[0].metric.title} against the teacher", unit)
    return drawn("After each stage", "times the teacher's speed", quality, lines)


def drawn(title: str, speed: str, quality: str, lines: Sequence[Line]) -> str:
    """Bars on the left, differences on the right, one line for each model."""
    left = 20 + CHARACTER * max(len(line.name) for line in lines)
    right = left + BARS + GAP
    bottom = 40 + LINE * len(lines)
    most = max(value for line in lines for value in line.speedups)
    ends = [0.0, *(end for line in lines for end in line.interval or [line.difference or 0.0])]
    lowest, highest = math.floor(2 * min(ends)) / 2, math.ceil(2 * max(ends)) / 2
    scale = DIFFERENCES / (highest - lowest or 1)

    def at(value: float) -> float:
        return right + (value - lowest) * scale

    parts = [
        _text(20, 22, title.replace("`", ""), size=15),
        _line(left, 32, left, bottom),
        _line(at(0), 32, at(0), bottom),
    ]
    for number, line in enumerate(lines):
        middle = 40 + LINE * (number + 0.5)
        colour = OURS if line.ours else OTHERS
        parts.append(_text(left - 8, middle + 4, line.name, colour=colour, anchor="end"))
        height = 20 / len(line.speedups)
        for bar, value in enumerate(line.speedups):
            top, width = middle - 10 + bar * height, BARS * value / most
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f'fill="{LIGHT if bar else colour}"/>'
            )
            parts.append(_text(left + width + 4, top + height / 2 + 4, f"{value:.2f}", size=10))
        if line.interval is not None:
            parts.append(_line(at(line.interval[0]), middle, at(line.interval[1]), middle, colour, 2))
        if line.difference is not None:
            parts.append(f'<circle cx="{at(line.difference):.1f}" cy="{middle:.1f}" r="4" fill="{colour}"/>')
    for value in (lowest, 0.0, highest) if lowest < 0 < highest else (lowest, highest):
        parts.append(_text(at(value), bottom + 14, f"{value:g}", size=10, anchor="middle"))
    parts += [_text(left, bottom + 32, speed), _text(right, bottom + 32, quality)]
    width = max(right + DIFFERENCES + 30, right + CHARACTER * len(quality))
    size = f"{width:.0f} {bottom + 44}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, *, size: int = 13, colour: str = TEXT, anchor: str = "start") -> str:
    told = html.escape(text)
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{told}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = TEXT, width: int = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'
