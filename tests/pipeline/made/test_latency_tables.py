"""Latency tables that were measured while other work ran."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compress.core.latency_table import LatencyTable
from compress.core.objective import Objective
from compress.core.signature import Decoding
from compress.pipeline.made import latency_tables
from compress.pipeline.made.latency_tables import begun_with, doubt, key_of_table, quietest
from compress.pipeline.make_or_find import BEGUN_WITH, Facts
from compress.pipeline.store import Store

REQUEST = Decoding(state="past", present="present", prompt_tokens=128, new_tokens=64)
Measure = Callable[[], Facts]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", print)


def measures(*shares: float | None) -> Measure:
    """Finds one share after the other that others took of the processors, and fails when asked once more."""
    left = iter(shares)
    return lambda: {"teacher": 1.0, "foreign_share": next(left)}


def share(store: Store, measure: Measure, *, again: bool = False, timed: set[str] | None = None) -> float | None:
    """What one run finds. timed: the tables that it has measured before."""
    timed = set() if timed is None else timed
    return quietest(store, "k", measure, what="the table", processors=2, timed=timed, again=again)["foreign_share"]


@pytest.mark.parametrize("quiet", [0.0, 0.09, None])
def test_a_quiet_table_is_measured_once_for_all_runs(store: Store, quiet: float | None) -> None:
    measure = measures(quiet)
    assert [share(store, measure), share(store, measure), share(store, measure, again=True)] == [quiet] * 3


@pytest.mark.parametrize(("first", "second", "kept"), [(0.5, 0.02, 0.02), (0.5, 0.7, 0.5), (0.1, None, None)])
def test_a_disturbed_one_is_measured_twice_and_the_quieter_is_kept(
    store: Store, first: float, second: float | None, kept: float | None
) -> None:
    assert share(store, measures(first, second)) == kept
    assert share(store, measures()) == kept


def test_what_an_earlier_run_left_disturbed_is_measured_again_where_that_is_wanted(store: Store) -> None:
    share(store, measures(0.5, 0.6))
    assert share(store, measures()) == 0.5
    # Not worse than before, and better only where it is.
    assert share(store, measures(0.8), again=True) == 0.5
    assert share(store, measures(0.3), again=True) == 0.3
    assert share(store, measures(0.01), again=True) == 0.01
    assert share(store, measures(), again=True) == 0.01


def test_once_a_run(store: Store) -> None:
    timed: set[str] = set()
    assert share(store, measures(0.5, 0.6), again=True, timed=timed) == 0.5
    assert share(store, measures(), again=True, timed=timed) == 0.5
    timed = set()
    assert share(store, measures(0.4), again=True, timed=timed) == 0.4
    assert share(store, measures(), again=True, timed=timed) == 0.4


def test_a_doubt_is_told_of_a_disturbed_one_only() -> None:
    curves = [{0: 0.0, 1: 1.0}] * 4
    assert doubt(LatencyTable(1.0, 0.1, *curves, foreign_share=0.09), 2) is None
    assert doubt(LatencyTable(1.0, 0.1, *curves, foreign_share=0.52), 2) == (
        "while layers were timed, other processes used 52% of the 2 processors: the sizes chosen may miss the "
        "objective; the next run that needs them times them again"
    )


def told(store: Store, *facts: Facts, again: bool = False) -> Facts:
    """What one run finds, of tables whose rounds are known."""
    left = iter(facts)
    measure = partial(next, left)
    return quietest(store, "k", measure, what="the table", processors=2, timed=set(), again=again)


def test_where_rounds_are_known_they_have_been_taken_again_already(store: Store) -> None:
    """A second whole table is not measured at once; a later run that needs it measures once more."""
    worse, better = {"foreign_share": 0.5, "disturbed": True}, {"foreign_share": 0.6, "disturbed": False}
    assert told(store, worse) == worse
    assert told(store) == worse
    # Nobody had to wait, however much others did beside.
    assert told(store, better, again=True) == better
    assert told(store, again=True) == better


def test_of_two_that_were_disturbed_the_one_that_others_took_less_of_is_kept(store: Store) -> None:
    first, second = ({"foreign_share": share, "disturbed": True} for share in (0.5, 0.3))
    assert told(store, first) == first
    assert told(store, second, again=True) == second


def test_rounds_that_are_known_say_whether_there_is_a_doubt() -> None:
    curves = [{0: 0.0, 1: 1.0}] * 4
    assert doubt(LatencyTable(1.0, 0.1, *curves, foreign_share=0.52, disturbed=False), 2) is None
    assert str(doubt(LatencyTable(1.0, 0.1, *curves, foreign_share=0.05, disturbed=True), 2)).startswith(
        "while layers were timed, other processes made them wait: the sizes chosen"
    )


def test_a_table_of_an_earlier_release_is_read() -> None:
    told = LatencyTable(1.0, 0.1, *[{0: 0.0, 1: 1.0}] * 4, foreign_share=0.2).to_json()
    del told["disturbed"]
    assert LatencyTable.from_json(told).disturbed is None


def test_resumed_work_goes_on_with_the_table_it_was_begun_with(tmp_path: Path) -> None:
    curves = {0: 0.0, 2: 1.0}, {0: 0.0, 8: 1.0}, {0: 0.0, 2: 0.5}, {0: 0.0, 8: 0.5}
    ranks = {"ffn_in": {8: {4: -0.5, 12: -0.25}}}
    first, second = (LatencyTable(time, 0.1, *curves, 0.5, ranks) for time in (1.0, 2.0))
    said: list[str] = []
    assert begun_with(tmp_path, lambda: first, said.append) == first
    assert [path.name for path in tmp_path.iterdir()] == [BEGUN_WITH]
    assert begun_with(tmp_path, lambda: second, said.append) == first
    assert said == []


def test_work_begun_with_a_table_that_is_damaged_now_begins_anew(tmp_path: Path) -> None:
    curves = [{0: 0.0, 2: 1.0}] * 4
    first, second = (LatencyTable(time, 0.125, *curves, 0.5) for time in (1.0, 2.0))
    begun_with(tmp_path, lambda: first, print)
    whole = (tmp_path / BEGUN_WITH).read_bytes()
    for place in range(0, len(whole), 7):
        for bit in range(8):
            (tmp_path / BEGUN_WITH).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            (tmp_path / "checkpoint").touch()
            said: list[str] = []
            found = begun_with(tmp_path, lambda: second, said.append)
            # White space may change, and a letter's case in an escape: what it says is then the same.
            assert found == (second if said else first)
            assert (tmp_path / "checkpoint").exists() != bool(said)
    (tmp_path / BEGUN_WITH).write_bytes(whole.replace(b"0.125", b"0.126"))
    assert begun_with(tmp_path, lambda: second, said.append) == second
    assert "the work begins anew" in said[-1]


def test_a_decoders_table_is_of_a_workload_and_of_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_tables, "latency_table_key", lambda *given: given[2:])
    teacher: Any = SimpleNamespace(key="teacher")

    def key(decoding: Decoding | None) -> Any:
        encoded = SimpleNamespace(timed_lengths=lambda split: [7, 9])
        loaded: Any = SimpleNamespace(
            recipe=SimpleNamespace(objective=Objective(speedup=None, max_accuracy_drop=None)),
            signature=SimpleNamespace(decoding=decoding),
            encoded=lambda teacher: encoded,
        )
        return key_of_table(loaded, teacher, {"heads": 4})

    assert key(None) == ([7, 9], {"heads": 4})
    assert key(REQUEST) == ([], {"heads": 4, "prompt_tokens": 128, "new_tokens": 64})
    assert key(replace(REQUEST, prompt_tokens=64, new_tokens=128)) != key(REQUEST)
