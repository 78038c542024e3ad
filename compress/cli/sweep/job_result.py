"""How one job of a sweep ended: a file in its folder, because jobs run in other processes and on other machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from compress.core.errors import InputError
from compress.core.json_file import read_json, require_types
from compress.core.ledger import Row
from compress.core.metric import ACCURACY, Label
from compress.core.run_files import OUTCOME
from compress.core.secrets import masked
from compress.core.whole import write_whole

TRACEBACK = "traceback.txt"
Ending = Literal["exported", "nothing passed", "refused", "broken", "lost", "interrupted", "not started"]
STATUS: Mapping[Ending, int] = {
    "exported": 0,
    "nothing passed": 3,
    "refused": 2,
    "broken": 1,
    "lost": 1,
    "interrupted": 130,
    "not started": 130,
}
# What a user should look at first.
WORST_LAST = (0, 3, 2, 1, 130)


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """ending: `exported`; `nothing passed` its gate; `refused`, bad input; `broken`, a stage or the program; `lost`:
    the job's process died; `interrupted`; `not started`. reason: why, where nothing was exported; or which limits the
    exported model missed, where its gate's on_failure is `warn`.

    stage and the five after it: of the exported model, or, where nothing was exported, of the last that was measured;
    in units of the ledger. shortfall: by how much the metric misses that stage's limit, 0 where it does not. metric:
    what difference and interval are of: in the file they begin with its name. seconds: the job's own. busy: whether
    there is no speed-up because the machine was busy when it was timed.
    """

    ending: Ending
    reason: str | None = None
    stage: str | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    speedup: float | None = None
    speedup_interval: tuple[float, float] | None = None
    size_bytes: int | None = None
    shortfall: float | None = None
    seconds: float | None = None
    metric: Label = ACCURACY
    busy: bool = False

    @property
    def status(self) -> int:
        """What the job alone would have returned."""
        return STATUS[self.ending]

    def to_json(self) -> dict[str, Any]:
        """Plain values, the status among them."""
        told: dict[str, Any] = {}
        for name, value in asdict(self).items():
            told.update(self.metric.to_json() if name == "metric" else {self.metric.name_in_file(name): value})
        return {**told, "status": self.status}


def from_json(values: Mapping[str, Any]) -> JobResult:
    """The result that `JobResult.to_json` gave."""
    metric = Label.from_json(values)
    known: dict[str, Any] = {field.name: values.get(metric.name_in_file(field.name)) for field in fields(JobResult)}
    for name in ("interval", "speedup_interval"):
        known[name] = None if known[name] is None else tuple(known[name])
    known = {**known, "metric": metric, "busy": bool(known["busy"])}
    require_types(JobResult, {name: value for name, value in known.items() if value is not None})
    return JobResult(**known)


def measured(row: Row | None, max_accuracy_drop: float | None) -> dict[str, Any]:
    """The fields of a result that a row of the ledger has; none for None."""
    if row is None:
        return {}
    missed = 0.0
    if row.difference is not None and max_accuracy_drop is not None:
        missed = max(0.0, -row.difference - max_accuracy_drop)
    names = ("stage", "metric", "difference", "interval", "speedup", "speedup_interval", "size_bytes")
    found = {name: getattr(row, name) for name in names}
    return {**found, "shortfall": missed, "busy": row.disturbance is not None}


def worst(statuses: list[int]) -> int:
    """The exit status of a sweep: 130 before 1, then 2, then 3, then 0."""
    return max(statuses, key=WORST_LAST.index, default=0)


def write(result: JobResult, folder: Path) -> None:
    """Write `outcome.json`, whole or not at all."""
    write_json(folder / OUTCOME, result.to_json())


def read(folder: Path) -> JobResult | None:
    """What a job wrote before it ended, or None where it did not come so far."""
    try:
        return from_json(read_json(folder / OUTCOME, finite=False))
    except (InputError, AttributeError, KeyError, TypeError, ValueError):
        return None


def forget(folder: Path) -> None:
    """Remove what an earlier job left in this folder: it would be taken for this one's."""
    for name in (OUTCOME, TRACEBACK):
        (folder / name).unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """Write JSON, without passwords, whole or not at all."""
    text = json.dumps(masked(values), indent=1, ensure_ascii=False, default=str)
    write_whole(path, f"{text}\n", flushed=True)
