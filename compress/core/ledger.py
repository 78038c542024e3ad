"""One JSON line per stage of a run, failures too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from compress.core.blame import Blame
from compress.core.evaluation import Disturbance, PredictionPowered
from compress.core.fact_table import FactTable
from compress.core.json_file import require_types
from compress.core.metric import ACCURACY, Label

# Measured speed-ups lay within 7% of what was predicted where both are on record (docs/results.md); one that a busy
# machine had spoilt was 1.8 times the prediction.
CONTRADICTION = 1.3
SENTENCES = ("reasons", "notes", "findings", "missed")


@dataclass(frozen=True)
class Row:
    """One stage of a run. Latencies are milliseconds per example at batch 1, on the CPU.

    metric: what value, difference and interval are of; in the file they are called by its name, such as `accuracy`,
    `accuracy_difference` and `accuracy_interval`. difference: to the teacher's value. findings: those of the reasons
    that no limit asks for. decision: what the run did with the model: `keep`, `roll_back` or `stop`. notes: what the
    stage reported; tables: what it did, part by part. blame: why it may have missed its limits, where it did and that
    was looked into; a ledger of an earlier release has none. disturbance: why there are no latencies and no speed-up
    though they were timed, where a busy machine kept them from being measured; of an earlier release none, whose notes
    may say so. predicted_speedup: what the latency table expects of this model, where it does. prediction_powered: what
    texts without labels did to the interval, where there were some. spent: of `seconds`, how many on what.
    """

    stage: str
    artifact: str | None
    verdict: str
    reasons: tuple[str, ...]
    decision: str
    value: float | None
    difference: float | None
    interval: tuple[float, float] | None
    latency_ms_p50: float | None
    latency_ms_p90: float | None
    speedup: float | None
    speedup_interval: tuple[float, float] | None
    speedup_vs_torch: float | None
    size_bytes: int | None
    parameters: int | None
    nonzero_parameters: int | None
    bytes_by_part: dict[str, int] | None
    seconds: float
    reused: bool
    notes: tuple[str, ...]
    blame: Blame | None = None
    findings: tuple[str, ...] = ()
    metric: Label = ACCURACY
    missed: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    tables: tuple[FactTable, ...] = ()
    disturbance: Disturbance | None = None
    predicted_speedup: float | None = None
    prediction_powered: PredictionPowered | None = None
    spent: Mapping[str, float] = field(default_factory=dict)

    @property
    def contradiction(self) -> str | None:
        """A sentence where what was predicted of the speed and what was measured cannot both be right."""
        expected, found = self.predicted_speedup, self.speedup
        if not expected or not found or 1 / CONTRADICTION <= found / expected <= CONTRADICTION:
            return None
        low, high = self.speedup_interval or (found, found)
        if low <= expected <= high:
            return None
        return (
            f"measured {found:.1f} times the teacher's speed, and the latency table predicted {expected:.1f}: these "
            "contradict each other. One of the two was disturbed, or the table does not fit this model; measure again "
            "before you rely on the speed"
        )

    @property
    def accuracy(self) -> float | None:
        """The value, as it is called where the metric is accuracy."""
        return self.value

    @property
    def accuracy_difference(self) -> float | None:
        """The difference, as it is called where the metric is accuracy."""
        return self.difference

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """The interval, as it is called where the metric is accuracy."""
        return self.interval

    def to_json(self) -> dict[str, Any]:
        """As a line of the ledger."""
        told: dict[str, Any] = {}
        for name, value in {**asdict(self), "tables": [table.to_json() for table in self.tables]}.items():
            told.update(self.metric.to_json() if name == "metric" else {self.metric.name_in_file(name): value})
        return told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """One line, also of an earlier version, whose lines lack a field or have one more. Raises ValueError,
        TypeError or KeyError for what is none."""
        metric = Label.from_json(data)
        told: dict[str, Any] = {entry.name: data.get(metric.name_in_file(entry.name)) for entry in fields(cls)}
        told.update({name: tuple(str(text) for text in told[name] or ()) for name in SENTENCES})
        told.update({name: told[name] or {} for name in ("figures", "spent")})
        told["tables"] = tuple(FactTable.from_json(table) for table in told["tables"] or ())
        for name in ("interval", "speedup_interval"):
            told[name] = None if told[name] is None else tuple(told[name])
        disturbance = None if told["disturbance"] is None else Disturbance.from_json(told["disturbance"])
        told = {**told, "metric": metric, "blame": _blame(told["blame"]), "disturbance": disturbance}
        if told["prediction_powered"] is not None:
            told["prediction_powered"] = PredictionPowered.from_json(told["prediction_powered"])
        always = ("stage", "verdict", "decision")
        require_types(cls, {name: value for name, value in told.items() if value is not None or name in always})
        return cls(**told)


def _blame(told: Any) -> Blame | None:
    """What was found out about a stage; None where nothing was, or by a version that wrote it otherwise."""
    try:
        return None if told is None else Blame.from_json(told)
    except (KeyError, TypeError):
        return None


class Ledger:
    """Appends rows to `ledger.jsonl`, each line flushed to the disk before the next stage starts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        path.write_text("", encoding="utf-8")

    def append(self, row: Row) -> Row:
        """Write one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row.to_json(), ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)
        return row
