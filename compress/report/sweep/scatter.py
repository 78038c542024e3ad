"""The picture of a front: each run's model, with intervals, against speed or against bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.core.metric import Label, Unit
from compress.report.sweep.front import front_of
from compress.report.sweep.scales import Scale, Tick, scale_of
from compress.report.sweep.standing import TONES, Standing
from compress.report.wording import capitalized, on_axis, three_digits

# Of the part inside the axes; the template draws on 560 x 400.
LEFT, RIGHT, TOP, BOTTOM = 52.0, 546.0, 20.0, 350.0
# Above this many points the intervals of those behind the front are drawn only under the pointer.
MANY = 40

# A shape for each status beside its colour, for those who do not see the colours. Centred, about 11 units wide.
SHAPES = {
    "passed": "M-5.5,0a5.5,5.5 0 1,0 11,0a5.5,5.5 0 1,0 -11,0Z",
    "proven by labels": "M0,-6L5.7,-1.9L3.5,4.9H-3.5L-5.7,-1.9Z",
    "unproven": "M0,-6.2L6,5H-6Z",
    "failed by labels": "M-5.7,-3.3L0,-6.6L5.7,-3.3V3.3L0,6.6L-5.7,3.3Z",
    "failed, kept": "M-4.8,-4.8H4.8V4.8H-4.8Z",
    "nothing passed": "M-5,-5L5,5M-5,5L5,-5",
    "teacher": "M0,-6.5L6.5,0L0,6.5L-6.5,0Z",
}


@dataclass(frozen=True)
class Mark:
    """One run on a picture. across, up: the ends of its intervals; None where there is none. beyond: it lies below."""

    run: int
    x: float
    y: float
    across: tuple[float, float] | None
    up: tuple[float, float] | None
    shape: str
    tone: str
    on_front: bool
    beyond: bool


@dataclass(frozen=True)
class Picture:
    """What the template draws. front: the path of the line. limit: the height of the margin. teacher_at: the
    teacher's number, where it lies beyond the edge that it is drawn at.
    """

    name: str
    title: str
    across: str
    better: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    front: str
    limit: float
    teacher: tuple[float, float] | None
    teacher_at: str
    many: bool


def speed_picture(standings: Sequence[Standing], margin: float, metric: Label) -> Picture | None:
    """The metric against speed-up; None where no run was measured."""
    return _picture(
        standings, margin, metric, "speed", f"{capitalized(metric.title)} against speed",
        "times the teacher's speed", "right",
        lambda standing: (standing.speedup or 0.0, standing.speedup_interval),
        fronts=speed_front(standings), teacher=1.0,
    )  # fmt: skip


def bytes_picture(standings: Sequence[Standing], margin: float, metric: Label) -> Picture | None:
    """The metric against megabytes; None where no run was measured."""
    teachers = {standing.run.rows[0].size_bytes for standing in standings if standing.drawn}
    teacher = next(iter(teachers)) if len(teachers) == 1 else None
    return _picture(
        standings, margin, metric, "bytes", f"{capitalized(metric.title)} against bytes",
        "megabytes of the file that the runtime loads", "left",
        lambda standing: ((standing.size_bytes or 0.0) / 1e6, None), fronts=bytes_front(standings),
        teacher=None if teacher is None else teacher / 1e6,
    )  # fmt: skip


def speed_front(standings: Sequence[Standing]) -> list[int]:
    """Positions of the exported models that none beats in both speed and the metric, the fastest first."""
    return _front(standings, lambda standing: standing.speedup or 0.0)


def bytes_front(standings: Sequence[Standing]) -> list[int]:
    """Positions of the exported models that none beats in both bytes and the metric, the smallest first."""
    return _front(standings, lambda standing: -(standing.size_bytes or 0.0))


def _front(standings: Sequence[Standing], good: Callable[[Standing], float]) -> list[int]:
    places = [place for place, standing in enumerate(standings) if standing.exported and standing.drawn]
    return [places[found] for found in front_of([(good(standings[p]), standings[p].difference or 0.0) for p in places])]


def _picture(
    standings: Sequence[Standing],
    margin: float,
    metric: Label,
    name: str,
    title: str,
    across: str,
    better: str,
    read: Callable[[Standing], tuple[float, tuple[float, float] | None]],
    *,
    fronts: Sequence[int],
    teacher: float | None,
) -> Picture | None:
    shown = [place for place, standing in enumerate(standings) if standing.drawn]
    if not shown:
        return None
    # Failures may lie far below: those with a model say how much of the height is needed.
    leading = [standings[place] for place in shown if standings[place].exported] or [
        standings[place] for place in shown
    ]
    heights = [
        on_axis(end, metric.unit)
        for standing in leading
        for end in (standing.interval or (standing.difference or 0.0,))
    ]
    widths = [end for place in shown for end in _ends(*read(standings[place]))]
    near = teacher is None or _near(teacher, widths)
    x = scale_of([*widths, teacher] if teacher is not None and near else widths, LEFT, RIGHT, logarithmic=True)
    limit = on_axis(-margin, metric.unit)
    y = scale_of([*heights, 0.0, limit], BOTTOM, TOP, logarithmic=False)
    marks = [_mark(place, standings[place], read, x, y, place in fronts, metric.unit) for place in shown]
    by_run = {mark.run: mark for mark in marks}
    return Picture(
        name=name,
        title=title,
        across=across,
        better=better,
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        # What is drawn last lies on top.
        marks=sorted(marks, key=lambda mark: mark.on_front),
        front=_stairs([(by_run[place].x, by_run[place].y) for place in fronts]),
        limit=y.place(limit),
        teacher=None if teacher is None else (x.place(teacher), y.place(0.0)),
        teacher_at="" if near else three_digits(teacher),
        many=len(shown) > MANY,
    )


def _near(teacher: float, widths: Sequence[float]) -> bool:
    """Whether the teacher leaves the runs at least half of a logarithmic picture."""
    whole = math.log(max(*widths, teacher) / min(*widths, teacher))
    return math.log(max(widths) / min(widths)) >= 0.5 * whole


def _ends(middle: float, interval: tuple[float, float] | None) -> tuple[float, ...]:
    return (middle,) if interval is None else (middle, *interval)


def _mark(
    place: int,
    standing: Standing,
    read: Callable[[Standing], tuple[float, tuple[float, float] | None]],
    x: Scale,
    y: Scale,
    on_front: bool,
    unit: Unit,
) -> Mark:
    across, interval = read(standing)
    height = on_axis(standing.difference or 0.0, unit)
    beyond = height < y.low
    ends = None if standing.interval is None or beyond else standing.interval
    return Mark(
        run=place,
        x=x.place(across),
        y=y.place(height),
        across=None if interval is None else (x.place(interval[0]), x.place(interval[1])),
        up=None if ends is None else (y.place(on_axis(ends[0], unit)), y.place(on_axis(ends[1], unit))),
        shape=standing.status,
        tone=TONES[standing.status],
        on_front=on_front,
        beyond=beyond,
    )


def _stairs(corners: Sequence[tuple[float, float]]) -> str:
    """A path from one end of the front to the other, each step at what is reached for certain.

    corners: from the best across to the best in height. Between two of them only the worse of both is reached.
    """
    if len(corners) < 2:
        return ""
    path = [f"M{corners[0][0]},{corners[0][1]}"]
    for x, y in corners[1:]:
        path.append(f"H{x}V{y}")
    return "".join(path)
