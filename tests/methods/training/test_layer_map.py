"""Which teacher's layer a student's layer stands for, by hand."""

from __future__ import annotations

import pytest

from compress.methods.training.layer_map import inherited, spread


@pytest.mark.parametrize(
    ("students", "teachers", "numbers"),
    [
        (3, 6, [2, 4, 6]),
        (1, 6, [6]),
        (6, 6, [1, 2, 3, 4, 5, 6]),
        (4, 6, [2, 3, 4, 6]),  # 1.5, 3, 4.5, 6
        (5, 12, [2, 5, 7, 10, 12]),  # 2.4, 4.8, 7.2, 9.6, 12
        (2, 3, [2, 3]),  # 1.5, 3
    ],
)
def test_spread(students: int, teachers: int, numbers: list[int]) -> None:
    assert spread(students, teachers) == numbers


def test_spread_never_names_a_layer_twice() -> None:
    for teachers in range(1, 49):
        for students in range(1, teachers + 1):
            numbers = spread(students, teachers)
            assert sorted(set(numbers)) == numbers
            assert numbers[-1] == teachers


def test_more_students_than_teachers() -> None:
    with pytest.raises(ValueError, match=r"7 layers cannot stand for 6"):
        spread(7, 6)


@pytest.mark.parametrize(
    ("kept", "before", "teachers", "numbers"),
    [
        ([1, 3, 5], 6, 6, [2, 4, 6]),
        ([0, 1, 2], 6, 6, [1, 2, 6]),  # the head reads the last: it stands for the teacher's last
        ([0, 2], 3, 6, [2, 6]),  # the three stood for 2, 4 and 6
        ([0, 1], 3, 6, [2, 6]),
        ([0, 1, 2], 3, 6, [2, 4, 6]),
    ],
)
def test_inherited(kept: list[int], before: int, teachers: int, numbers: list[int]) -> None:
    assert inherited(kept, before, teachers) == numbers
