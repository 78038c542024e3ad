"""Each second is counted once, under the name of the innermost that it is spent on."""

from __future__ import annotations

import threading

import pytest

from compress.core import spent as module
from compress.core.spent import spending, spent


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """`clock[0]` is what time it is."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_what_is_inside_is_not_counted_outside(clock: list[float]) -> None:
    with spent() as account:
        clock[0] += 1
        with spending("training"):
            clock[0] += 10
            with spending("backward"):
                clock[0] += 100
            clock[0] += 20
        assert account.so_far() == {"other": 1, "training": 30, "backward": 100}
        clock[0] += 2
    assert account.so_far() == {"other": 3, "training": 30, "backward": 100}


def test_what_is_whole_takes_in_all_inside_it(clock: list[float]) -> None:
    with spent() as account:
        with spending("table", whole=True):
            with spending("latency"), spending("export"):
                clock[0] += 5
            clock[0] += 1
        with spending("latency"):
            clock[0] += 7
    assert account.so_far() == {"other": 0, "table": 6, "latency": 7}


def test_what_breaks_ends_what_it_was_spent_on(clock: list[float]) -> None:
    with spent() as account:
        with pytest.raises(ValueError), spending("training"):
            clock[0] += 3
            raise ValueError
        clock[0] += 4
    assert account.so_far() == {"other": 4, "training": 3}


def test_an_account_inside_another_is_counted_in_both(clock: list[float]) -> None:
    with spent() as run:
        clock[0] += 1
        with spending("stages"):
            with spent() as stage:
                clock[0] += 10
                with spending("training"):
                    clock[0] += 100
            clock[0] += 1000
    assert stage.so_far() == {"other": 10, "training": 100}
    assert run.so_far() == {"other": 11, "training": 100, "stages": 1000}


def test_nobody_counts_outside_and_in_other_threads(clock: list[float]) -> None:
    with spending("nothing"):
        pass

    def beside() -> None:
        with spending("beside"):
            clock[0] += 50

    with spent() as account:
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
    assert account.so_far() == {"other": 50}
