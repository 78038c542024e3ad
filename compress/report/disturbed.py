"""What a busy machine kept from being measured, and what measures it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.core.evaluation import MEASURE_AGAIN, Disturbance


def disturbance_of(summary: Mapping[str, Any]) -> Disturbance | None:
    """Why the student has no speed though it was timed, where a busy machine kept it from being measured. Summaries of
    an earlier release do not say."""
    told = (summary["student"] or {}).get("disturbance")
    return None if told is None else Disturbance.from_json(told)


def measure_again(summary: Mapping[str, Any]) -> str:
    """What measures again what was disturbed."""
    command = summary.get("command")
    again = f"{command} {MEASURE_AGAIN}" if command and MEASURE_AGAIN not in command else command or MEASURE_AGAIN
    return f"To measure again what was disturbed, and only that, once the machine is quiet: {again}"
