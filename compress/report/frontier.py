"""The picture a decision is made from: how fast each stage's model is and what it keeps of the metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator, PercentFormatter

from compress.core.ledger import Row
from compress.core.metric import Label
from compress.report import wording
from compress.report.labels import Box, place_labels
from compress.report.svg import FONT_SIZE, PALETTE, STYLE, WIDTH_INCHES, inline_svg, new_figure, plain, short_name
from compress.report.wording import finite, finite_interval, three_digits

_LETTER_WIDTH = 0.6 * FONT_SIZE
# Kind of point: marker, colour of the edge, colour inside. Shapes differ too, for those who do not see the colours.
_MARKERS = {
    "teacher": ("D", "ink", "ink"),
    "passed": ("o", "good", "good"),
    "unproven": ("^", "unsure", "unsure"),
    "failed, kept": ("s", "bad", "bad"),
    "not kept": ("X", "bad", "paper"),
}


@dataclass(frozen=True)
class _Point:
    name: str
    kind: str
    speedup: float
    value: float
    ends: tuple[float, float] | None
    across: tuple[float, float] | None


@matplotlib.rc_context(STYLE)
def metric_against_speed(rows: Sequence[Row], limit: float | None, metric: Label) -> str | None:
    """One labelled point per measured stage, the teacher among them, as an inline SVG; None for fewer than two points.

    x: times the teacher's speed, logarithmic, with its interval: each was timed in turns with the teacher, where
    milliseconds of two stages are of different minutes, in which the machine may have been another. y: the metric, with
    the interval of the difference drawn around the teacher's value. limit: how far below the teacher it is drawn, on
    the scale of values.
    """
    points = _points(rows)
    if len(points) < 2:
        return None
    figure = new_figure(WIDTH_INCHES, 5.4)
    axes = figure.add_subplot()
    plain(axes, "both")
    axes.set_xscale("log")
    for point in points:
        _draw(axes, point)
    axes.margins(x=0.14, y=0.14)
    teacher = finite(rows[0].value)
    if teacher is not None and limit is not None:
        told = wording.counted(wording.amount(-limit, metric.unit, 2), metric.unit)
        # A number that grows as things get worse is drawn downwards, and its limit reads as what it is.
        where = "the teacher's" if metric.unit.kind == "ratio" else "below the teacher"
        _draw_limit(axes, teacher - limit, f"limit, {told} {where}")
    _readable_log_axis(axes)
    if metric.unit.kind == "share":
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    elif metric.unit.kind == "ratio":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: wording.value(number, metric.unit, 1)))
    axes.set_xlabel("times the teacher's speed (faster is right)", color=PALETTE["muted"])
    axes.set_ylabel(f"{metric.title}, validation split", color=PALETTE["muted"], parse_math=False)
    _legend(axes, points)
    figure.draw_without_rendering()
    _write_names(axes, points)
    told = "; ".join(
        f"{p.name} {wording.value(p.value, metric.unit, 2)} at {three_digits(p.speedup)} times the speed, {p.kind}"
        for p in points
    )
    return inline_svg(figure, "frontier", f"{metric.title} against speed. {told}.")


def _points(rows: Sequence[Row]) -> list[_Point]:
    points = []
    teacher = finite(rows[0].value) if rows else None
    for row in rows:
        speedup, value = 1.0 if row.verdict == "baseline" else finite(row.speedup), finite(row.value)
        if not speedup or value is None:
            continue
        difference = finite_interval(row.interval)
        ends = (teacher + difference[0], teacher + difference[1]) if teacher is not None and difference else None
        across = finite_interval(row.speedup_interval)
        points.append(_Point(row.stage, _kind(row), speedup, value, ends, across if across and across[0] > 0 else None))
    return points


def _kind(row: Row) -> str:
    if row.verdict == "baseline":
        return "teacher"
    if row.decision != "keep":
        return "not kept"
    return {"inconclusive": "unproven", "failed": "failed, kept"}.get(row.verdict, "passed")


def _draw(axes: Axes, point: _Point) -> None:
    shape, edge, fill = _MARKERS[point.kind]
    if point.ends is not None:
        axes.plot([point.speedup] * 2, point.ends, color=PALETTE[edge], linewidth=1.6, solid_capstyle="butt")
    if point.across is not None:
        axes.plot(point.across, [point.value] * 2, color=PALETTE[edge], linewidth=1.6, solid_capstyle="butt")
    axes.plot(
        [point.speedup], [point.value], shape, markersize=10, color=PALETTE[fill],
        markeredgecolor=PALETTE[edge], markeredgewidth=1.6,
    )  # fmt: skip


def _draw_limit(axes: Axes, height: float, words: str) -> None:
    axes.axhline(height, color=PALETTE["bad"], linewidth=1.4, linestyle=(0, (5, 4)))
    axes.annotate(
        words, (1, height), (-4, -5), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
        va="top", color=PALETTE["bad"],
    )  # fmt: skip


def _readable_log_axis(axes: Axes) -> None:
    low, high = axes.get_xlim()
    steps = (1, 2, 5) if high / low > 20 else (1, 1.5, 2, 3, 5, 7)
    ticks = [step * 10.0**power for power in range(-4, 7) for step in steps]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes, points: Sequence[_Point]) -> None:
    present = {point.kind for point in points}
    handles = [
        Line2D([], [], linestyle="", marker=shape, markersize=9, color=PALETTE[fill], markeredgecolor=PALETTE[edge],
               markeredgewidth=1.6, label=kind)
        for kind, (shape, edge, fill) in _MARKERS.items()
        if kind in present
    ]  # fmt: skip
    axes.figure.legend(
        handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, labelcolor=PALETTE["ink"]
    )


def _write_names(axes: Axes, points: Sequence[_Point]) -> None:
    """Write each stage's name near its point. Needs a figure whose layout is done: positions are in its pixels."""
    places = [_pixels(axes, point.speedup, point.value) for point in points]
    obstacles: list[Box] = [(x - 8, y - 8, x + 8, y + 8) for x, y in places]
    for point, (x, y) in zip(points, places, strict=True):
        if point.ends is not None:
            low, high = (_pixels(axes, point.speedup, end)[1] for end in point.ends)
            obstacles.append((x - 2, low, x + 2, high))
        if point.across is not None:
            left, right = (_pixels(axes, end, point.value)[0] for end in point.across)
            obstacles.append((left, y - 2, right, y + 2))
    left, bottom, right, top = (float(edge) for edge in axes.bbox.extents)
    names = [short_name(point.name) for point in points]
    widths = [_LETTER_WIDTH * len(name) for name in names]
    corners = place_labels(places, widths, 1.3 * FONT_SIZE, obstacles, (left, bottom, right, top))
    for name, corner in zip(names, corners, strict=True):
        label = axes.annotate(name, corner, xycoords="figure pixels", color=PALETTE["ink"], parse_math=False)
        label.set_in_layout(False)


def _pixels(axes: Axes, x: float, y: float) -> tuple[float, float]:
    place = axes.transData.transform((x, y))
    return float(place[0]), float(place[1])
