"""A recipe, and how latency is sampled: data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.checks import require_at_least, require_boolean, require_integer
from compress.core.gate import Gate
from compress.core.objective import Objective
from compress.core.runtime import Runtime
from compress.core.stage import Stage
from compress.core.task import Task
from compress.core.tracking import Tracker
from compress.core.words import Data, Teacher

# Of the settings of a measurement those that say how long to wait for quiet, and nothing of what is measured.
PATIENCE = ("retry_seconds", "again")


@dataclass(frozen=True)
class Measurement:
    """How latency is sampled.

    examples: how many validation examples are timed, at their real lengths. launches: how often each worker process
    is started anew. rounds: turns per launch. warmup: untimed runs at the start of each turn. retry_seconds: for how
    long, in all of a measurement, rounds that others disturbed are thrown away and taken again. again: whether what an
    earlier run left disturbed is measured once more.

    The last two say how long to wait for quiet, and nothing of what is measured then: no key depends on them. Where
    they are left out, as in a recipe of before there were any, nothing is taken again.
    """

    examples: int
    launches: int
    rounds: int
    warmup: int
    retry_seconds: float = 0.0
    again: bool = False

    def __post_init__(self) -> None:
        require_integer("measurement.examples", self.examples, 1, "Use 24, for example.")
        require_integer("measurement.launches", self.launches, 1, "Use 4, for example.")
        require_integer("measurement.rounds", self.rounds, 1, "Use 6, for example.")
        require_integer("measurement.warmup", self.warmup, 0, "Use 3, for example.")
        require_at_least("measurement.retry_seconds", self.retry_seconds, 0, "Use 60, or 0 to take nothing again.")
        require_boolean("measurement.again", self.again)


@dataclass(frozen=True)
class Recipe:
    """Stages in order, a gate for each, the task, the data, the runtime. Data only.

    blame_seconds: how long to look for the reason where a stage missed its accuracy limit; 0 for not at all.
    settings: the resolved settings as plain values, per stage name and as a whole, for keys and for the record. forms:
    other forms of what is exported that are written beside it, by name.
    vectors: forms besides float in which the export gives its vectors, see `compress.core.kept_vectors`.
    """

    name: str
    teacher: Teacher
    data: Data
    task: Task
    runtime: Runtime
    order: tuple[str, ...]
    stages: Mapping[str, Stage]
    gates: Mapping[str, Gate]
    measurement: Measurement
    device: str
    seed: int
    store: Path
    objective: Objective
    blame_seconds: float
    tracker: Tracker
    settings: Mapping[str, Any]
    forms: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
