from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compress.report.sweep.front import front_of


def test_a_front_by_hand() -> None:
    #         0: fast, bad  1: beaten by 2  2: between   3: slow, good  4: beaten by 3 (as good, slower)
    points = [(6.0, -0.9), (3.0, -0.5), (4.0, -0.4), (2.0, -0.1), (1.5, -0.1)]
    assert front_of(points) == [0, 2, 3]


def test_equal_points_stay_together_and_ties_in_one_number_do_not() -> None:
    assert sorted(front_of([(2.0, 1.0), (2.0, 1.0)])) == [0, 1]
    assert front_of([(2.0, 1.0), (2.0, 0.5)]) == [0]
    assert front_of([]) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def beaten(one: tuple[int, int]) -> bool:
        return any(p[0] >= one[0] and p[1] >= one[1] and p != one for p in points)

    assert sorted(front_of(points)) == [place for place, point in enumerate(points) if not beaten(point)]
