"""What threads waited, from counters written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.measure.waits import Waits, read_counters, waits_between


def test_each_thread_has_its_counters(tmp_path: Path) -> None:
    for thread, line in (("11", "5000 700 3\n"), ("12", "9000 100 8\n")):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(line, encoding="ascii")
    assert read_counters(tmp_path) == {"11": (5000, 700), "12": (9000, 100)}


def test_a_thread_that_ended_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "11").mkdir()
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "schedstat").write_text("9 1 1", encoding="ascii")
    assert read_counters(tmp_path) == {"12": (9, 1)}


def test_where_nothing_is_counted_nothing_is_known(tmp_path: Path) -> None:
    assert read_counters(tmp_path / "none") is None
    (tmp_path / "11").mkdir()
    assert read_counters(tmp_path) is None
    # A kernel without these counters shows nothing, or three zeros.
    for line in ("", "0 0 0\n"):
        (tmp_path / "11" / "schedstat").write_text(line, encoding="ascii")
        assert read_counters(tmp_path) is None
    assert waits_between(None, {"1": (1, 1)}, 100) is None
    assert waits_between({"1": (1, 1)}, None, 100) is None


def test_the_threads_of_a_turn() -> None:
    before = {"1": (100, 10), "2": (50, 0), "3": (7, 7)}
    # 1 waited 20, 2 not at all, 4 began since and waited 10; 3 has ended.
    waits = waits_between(before, {"1": (140, 30), "2": (100, 0), "4": (5, 10)}, 60)
    assert waits == Waits(waited_ns=30, wall_ns=60)
    assert waits is not None and waits.share == 0.5


def test_a_turn_between_two_ticks_of_the_clock_is_known() -> None:
    """The kernel has not yet added what the thread ran."""
    assert waits_between({"1": (100, 10)}, {"1": (100, 10)}, 900_000) == Waits(waited_ns=0, wall_ns=900_000)


def test_a_turn_of_nothing_lost_nothing() -> None:
    assert Waits(waited_ns=0, wall_ns=0).share == 0.0


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=16))
def test_what_all_waited_is_the_sum(threads: list[tuple[int, int]]) -> None:
    waits = waits_between({}, {str(number): spans for number, spans in enumerate(threads)}, 10**12)
    assert waits is not None
    assert waits.waited_ns == sum(waited for _, waited in threads)
    assert 0 <= waits.share <= len(threads)


@pytest.mark.skipif(read_counters() is None, reason="only Linux counts what threads wait")
def test_a_process_finds_itself() -> None:
    waits = waits_between(read_counters(), read_counters(), 1)
    assert waits is not None and waits.waited_ns >= 0
