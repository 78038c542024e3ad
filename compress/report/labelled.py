"""What labels of further texts said of a run's export, after the run: see `compress-label`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.core.run_files import LABELLED
from compress.core.whole import write_whole

OUTCOMES = ("passed", "failed", "inconclusive")


def write_labelled(run: Path, verdict: Mapping[str, Any]) -> None:
    """Keep a verdict in the run's folder. verdict: as `verdict.json` has it."""
    write_whole(run / LABELLED, json.dumps(dict(verdict), indent=1) + "\n")


def read_labelled(run: Path, artifact: str, limit: float, confidence: float) -> dict[str, Any] | None:
    """`outcome` and `told` of the last verdict in the run's folder; None where there is none of this artifact, by this
    limit (of the difference, a fraction) at this confidence: the same model may be asked for more than before."""
    try:
        told = read_json(run / LABELLED)
    except InputError:
        return None
    asked = {"artifact": artifact, "limit": limit, "confidence": confidence}
    if any(told.get(name) != value for name, value in asked.items()):
        return None
    if told.get("outcome") not in OUTCOMES or not isinstance(told.get("told"), str):
        return None
    return {"outcome": told["outcome"], "told": told["told"]}
