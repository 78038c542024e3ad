"""Work is made once and found again, with what its time goes with; unfinished work waits for the next run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.measure.effort import Effort
from compress.pipeline.make_or_find import BEGUN_WITH, Facts, Work, find, make_or_find
from compress.pipeline.store import Store

EFFORT = Effort(kind="k", machine="m", device="cpu", threads=1, steps=3, tokens=8.0, parameters=5)
Count = Callable[..., Work[int]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", print)


@pytest.fixture
def made() -> list[str]:
    """The keys of what was made, in order."""
    return []


@pytest.fixture
def work(made: list[str]) -> Count:
    """`work(key, **more)`: its result is the number of things that were made before it."""

    def declare(key: str, **more: Any) -> Work[int]:
        def make(store: Store, folder: Path) -> Facts:
            (folder / "file").write_text("x", encoding="utf-8")
            made.append(key)
            return {"before": len(made) - 1}

        return Work(kind="things", key=key, make=make, read=lambda entry: entry.facts["before"], **more)

    return declare


def test_it_is_made_once_and_found_by_every_later_run(store: Store, work: Count, made: list[str]) -> None:
    assert [make_or_find(store, work(key)) for key in ("a", "b", "a", "b")] == [0, 1, 0, 1]
    assert made == ["a", "b"]
    assert make_or_find(Store(store.root, print), work("b")) == 1


def test_what_it_needs_is_there_first(store: Store, work: Count, made: list[str]) -> None:
    whole = work("whole", needs=(work("first"), work("second", needs=(work("deep"),))))
    assert make_or_find(store, whole) == 3
    assert made == ["first", "deep", "second", "whole"]
    # It is not whole while what it needs is gone, which then alone is made again.
    (store.root / "things" / "deep" / "file").unlink()
    assert find(store.root, whole) is None
    assert make_or_find(store, whole) == 3
    assert made == ["first", "deep", "second", "whole", "deep"]


def test_looking_for_it_changes_nothing(store: Store, work: Count, made: list[str]) -> None:
    assert find(store.root, work("a")) is None
    make_or_find(store, work("a"))
    assert find(store.root, work("a")) == 0
    file = store.root / "things" / "a" / "file"
    file.write_text("y", encoding="utf-8")
    assert find(store.root, work("a")) is None
    assert file.exists() and not (store.root / "damaged").exists() and made == ["a"]
    assert find(store.root / "elsewhere", work("a")) is None and not (store.root / "elsewhere").exists()


def facts_of(store: Store, work: Work[Any]) -> Facts:
    return make_or_find(store, replace(work, read=lambda entry: entry.facts))


def test_its_time_is_recorded_with_what_it_goes_with(store: Store, work: Count) -> None:
    facts = facts_of(store, work("a", effort=lambda: EFFORT))
    assert facts["seconds"] >= 0 and Effort(**facts["effort"]) == EFFORT
    assert set(facts_of(store, work("b"))) == {"before"}


def test_the_time_of_what_was_begun_before_tells_nothing(store: Store, work: Count) -> None:
    (store.work_folder("a") / "checkpoint").touch()
    facts = facts_of(store, work("a", effort=lambda: EFFORT, resumes=True))
    assert facts["effort"] is None
    assert not (store.root / "work" / "a").exists()


@pytest.mark.parametrize(("left", "stays"), [(None, False), (BEGUN_WITH, False), ("checkpoint", True)])
def test_unfinished_work_waits_for_the_next_run(store: Store, work: Count, left: str | None, stays: bool) -> None:
    def breaks(store: Store, folder: Path) -> Facts:
        for name in () if left is None else (left,):
            (store.work_folder("a") / name).touch()
        raise RuntimeError("killed")

    whole = work("a", resumes=True)
    with pytest.raises(RuntimeError, match="killed"):
        make_or_find(store, replace(whole, make=breaks))
    assert (store.root / "work" / "a").exists() == stays
    assert make_or_find(store, whole) == 0
    assert not (store.root / "work" / "a").exists()
