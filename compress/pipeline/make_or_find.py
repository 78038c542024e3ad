"""Make it or find it: what a run needs is made once, kept under its content key, and found there ever after."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from compress.measure.effort import Effort
from compress.pipeline.store import FEW_BYTES, MANIFEST, Entry, Store, find_damage

# In the folder of a stage's unfinished work: what it was begun with, and no work by itself.
BEGUN_WITH = "latency-table.json"

Facts = Mapping[str, Any]
Result = TypeVar("Result", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Work(Generic[Result]):
    """One thing that a run needs: its key, how it is made, and how it is read.

    kind, key: where a store keeps it. make: fills a folder and returns facts; given the store too, for what it needs
    on the way. read: what the finished entry says. what: the thing in the user's words. needed_bytes: about how much
    disk making it takes, at most. needs: what has to be there first. effort: what its time goes with, recorded with the
    seconds; None where nobody foresees them. resumes: making it leaves unfinished work in the store's work folder of
    the key, and goes on from there after a kill.
    """

    kind: str
    key: str
    make: Callable[[Store, Path], Facts]
    read: Callable[[Entry], Result]
    what: str = ""
    needed_bytes: int = FEW_BYTES
    needs: tuple[Work[Any], ...] = ()
    effort: Callable[[], Effort] | None = None
    resumes: bool = False

    def as_entry(self) -> Work[Entry]:
        """The same work, of which the entry itself is wanted."""
        return Work(**{**vars(self), "read": the_entry})


def make_or_find(store: Store, work: Work[Result]) -> Result:
    """The work's result, made where the store does not have it yet.

    Of two processes that want the same, one makes it and the other waits. It appears whole or not at all; what is
    damaged is made again. Raises DiskFullError where the disk cannot hold it, and whatever making it raises.
    """
    began = time.monotonic()
    for needed in work.needs:
        make_or_find(store, needed)

    def make(folder: Path) -> Facts:
        begun = work.resumes and any(store.work_folder(work.key).iterdir())
        facts = work.make(store, folder)
        if work.effort is None:
            return facts
        # Where an earlier run has done a part of it, its time would mislead.
        effort = None if begun else dataclasses.asdict(work.effort())
        return {**facts, "seconds": time.monotonic() - began, "effort": effort}

    try:
        entry = store.entry(work.kind, work.key, make, what=work.what, needed_bytes=work.needed_bytes)
    except BaseException:
        if work.resumes:
            # What refuses, or breaks at once, has begun nothing that could be resumed.
            store.leave_no_empty_work(work.key, besides=BEGUN_WITH)
        raise
    if work.resumes:
        store.forget_work(work.key)
    return work.read(entry)


def find(root: Path, work: Work[Result]) -> Result | None:
    """The result of finished work in the store `root`, or None where it, or what it needs, is not there or damaged.
    Nothing is made, set aside or waited for."""
    if any(find(root, needed) is None for needed in work.needs):
        return None
    entry = find_entry(root, work.kind, work.key)
    return None if entry is None else work.read(entry)


def find_entry(root: Path, kind: str, key: str) -> Entry | None:
    """The finished entry of a key in the store `root`, or None where it is not there or damaged."""
    folder = root / kind / key
    if not folder.is_dir() or find_damage(folder, key=key) is not None:
        return None
    facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["facts"]
    return Entry(key, folder, facts, reused=True)


def the_entry(entry: Entry) -> Entry:
    """As `Work.read`: the entry itself is what is wanted."""
    return entry


def room_for(model_bytes: int) -> int:
    """About what writing a model of this size takes: its tokenizer and probes come with it."""
    return round(1.1 * model_bytes) + 2_000_000
