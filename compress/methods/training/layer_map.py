"""Which layer of the teacher each layer of a student stands for."""

from __future__ import annotations

from collections.abc import Sequence


def spread(students: int, teachers: int) -> list[int]:
    """For each student layer the number (from 1) of the teacher layer it stands for: evenly spread, the last to last.

    Raises ValueError where there are more student layers than teacher layers.
    """
    if students > teachers:
        raise ValueError(f"{students} layers cannot stand for {teachers}")
    return [round((i + 1) * teachers / students) for i in range(students)]


def spread_from_first(students: int, teachers: int) -> list[int]:
    """As `spread`, with the first for the first, where that must stay; one alone stands for it."""
    if students > teachers:
        raise ValueError(f"{students} layers cannot stand for {teachers}")
    return [1 + round(i * (teachers - 1) / max(students - 1, 1)) for i in range(students)]


def inherited(kept: Sequence[int], before: int, teachers: int) -> list[int]:
    """For each layer that was kept (numbers from 0, out of `before`), the number (from 1) of its teacher layer.

    That is the one it stood for before others were cut. The last stands for the teacher's last, whichever it was: the
    head reads it.
    """
    numbers = spread(before, teachers)
    return [*(numbers[layer] for layer in kept[:-1]), teachers]
