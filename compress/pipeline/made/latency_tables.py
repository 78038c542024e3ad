"""Latency tables through the store: measured once for all runs, and again where other work ran beside.

A table decides what a stage makes, and nothing judges it but the speed-up at the end, most of an hour later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compress.core.latency_table import LatencyTable
from compress.measure.bystanders import disturbance
from compress.pipeline.store import Store

KIND = "latency-tables"
# In the folder of a stage's unfinished work.
BEGUN_WITH = "latency-table.json"

Facts = Mapping[str, Any]


class Tables:
    """What one run measures of tables, or finds. processors: how many the timed sessions use."""

    def __init__(self, store: Store, processors: int) -> None:
        self._store, self._processors = store, processors
        self._measured: set[str] = set()

    def facts(self, key: str, measure: Callable[[], Facts], what: str, *, again: bool) -> Facts:
        """What `measure` found, with the `foreign_share` that others took of the processors meanwhile.

        Where that is much, it measures twice and the quieter of the two is kept. again: what an earlier run left
        disturbed is measured once more, once a run, and the quieter kept.
        """

        def make(target: Path) -> Facts:
            self._measured.add(key)
            first = measure()
            return first if self._is_quiet(first) else min(first, measure(), key=_share)

        entry = self._store.entry(KIND, key, make, what=what)
        if not again or key in self._measured or self._is_quiet(entry.facts):
            return entry.facts
        self._measured.add(key)
        return self._store.replace(KIND, entry, lambda target: min(entry.facts, measure(), key=_share), what=what).facts

    def doubt(self, table: LatencyTable) -> str | None:
        """What to say of a table that was measured beside other work."""
        found = disturbance(table.foreign_share, self._processors, "layers were timed")
        way_out = "the sizes chosen may miss the objective; the next run that needs them times them again"
        return None if found is None else f"{found}: {way_out}"

    def _is_quiet(self, facts: Facts) -> bool:
        return disturbance(_share(facts), self._processors, "") is None


def begun_with(folder: Path, find: Callable[[], LatencyTable]) -> LatencyTable:
    """The table that the unfinished work in `folder` was begun with, or what `find` finds now, for work that begins:
    a resumed stage must choose what it chose before, though the table has been measured again since."""
    path = folder / BEGUN_WITH
    if path.exists():
        return LatencyTable.from_json(json.loads(path.read_text(encoding="utf-8")))
    table = find()
    # Whole or not at all: the process may be killed at any moment.
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(table.to_json()), encoding="utf-8")
    unfinished.replace(path)
    return table


def _share(facts: Facts) -> float:
    return facts["foreign_share"] or 0.0
