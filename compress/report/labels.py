"""Where to write the names of points so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]
Point = tuple[float, float]


def place_labels(
    points: Sequence[Point], widths: Sequence[float], height: float, obstacles: Sequence[Box], bounds: Box
) -> list[Point]:
    """The lower left corner for each label, near its point.

    All in the same units, y upwards. widths: of each label; height: of all. obstacles and bounds: (left, bottom, right,
    top); labels stay off the former and inside the latter as far as they can. Greedy, in the order given.
    """
    taken = list(obstacles)
    corners = []
    for (x, y), width in zip(points, widths, strict=True):
        choices = [_box(x + dx * (width if dx < 0 else 1), y + dy, width, height) for dx, dy in _offsets(width, height)]
        best = min(choices, key=lambda box: sum(_overlap(box, other) for other in taken) + _outside(box, bounds))
        taken.append(best)
        corners.append(best[:2])
    return corners


def _offsets(width: float, height: float) -> list[Point]:
    gap = height * 0.6
    left = -(1 + gap / width)
    rows = (gap * 0.3, -height - gap * 0.3, height * 1.3, -height * 2.3)
    return [(side, row) for row in rows for side in (gap, left)]


def _box(left: float, bottom: float, width: float, height: float) -> Box:
    return (left, bottom, left + width, bottom + height)


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return across * up if across > 0 and up > 0 else 0.0


def _outside(box: Box, bounds: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, bounds)
