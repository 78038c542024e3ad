"""The front: runs that no other run beats in both of two numbers."""

from __future__ import annotations

from collections.abc import Sequence


def front_of(points: Sequence[tuple[float, float]]) -> list[int]:
    """The positions of the points that no other dominates, the first number descending; more is better in both.

    One point dominates another where it is at least as good in both numbers and better in one. Equal points stay
    together. Intervals are not looked at: a point behind the front may still be as good.
    """
    best = float("-inf")
    kept: list[int] = []
    for position in sorted(range(len(points)), key=lambda position: points[position], reverse=True):
        second = points[position][1]
        if second > best or (kept and points[position] == points[kept[-1]]):
            kept.append(position)
            best = second
    return kept
