"""One JSON line per stage of a run, failures too."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from compress.core.blame import Blame


@dataclass(frozen=True)
class Row:
    """One stage of a run. Accuracies are fractions, latencies milliseconds per example at batch 1, on the CPU.

    decision: what the run did with the model: `keep`, `roll_back` or `stop`. notes: what the stage reported. blame:
    why it may have missed its limits, where it did and that was looked into; a ledger of an earlier release has none.
    """

    stage: str
    artifact: str | None
    verdict: str
    reasons: tuple[str, ...]
    decision: str
    accuracy: float | None
    accuracy_difference: float | None
    accuracy_interval: tuple[float, float] | None
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


class Ledger:
    """Appends rows to `ledger.jsonl`, each line flushed to the disk before the next stage starts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        path.write_text("", encoding="utf-8")

    def append(self, row: Row) -> Row:
        """Write one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)
        return row
