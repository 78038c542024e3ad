"""From what was found out to settings to try, and what they would cost in speed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from compress.core.blame import Advice, Setback
from compress.core.latency_table import LatencyTable
from compress.core.recipe import Recipe
from compress.pipeline.blame.restore import Restoration


def expected_speedup(before: float, after: float, time_share: float) -> float:
    """The speed-up where this share of the time saved between two speed-ups is given back."""
    return 1 / (1 / after + time_share * (1 / before - 1 / after))


def advise(
    recipe: Recipe,
    stage: str,
    before: Any,
    after: Any,
    found: Restoration,
    speedups: tuple[float | None, float | None],
    latency: Callable[[Any], LatencyTable],
) -> Advice | None:
    """What the stage itself offers as milder settings, as overrides, or None where it knows none.

    before, after: the models. speedups: of both against the teacher, on the same runtime; None where that
    is not known. latency: see Setback.
    """
    milder = recipe.stages[stage].relax(Setback(before, after, found.worst, found.worst_share, latency))
    if milder is None:
        return None
    share, (earlier, later) = milder.time_share, speedups
    known = None if earlier is None or later is None else (earlier, later)
    return Advice(
        overrides=tuple(_override(recipe, stage, name, value) for name, value in milder.settings.items()),
        speedup=None if share is None or known is None else expected_speedup(*known, share),
        at_least=None if known is None else min(known),
        recovered=found.recovered if found.worst else None,
    )


def _override(recipe: Recipe, stage: str, name: str, value: Any) -> str:
    """As a shell takes it."""
    objective = recipe.objective.speedup
    asked = objective is not None and recipe.settings["stages"][stage].get(name) == objective
    # A stage whose target is another than the objective's is refused.
    place = "objective.speedup" if name == "target_speedup" and asked else f"stages.{stage}.{name}"
    return shlex.quote(f"{place}={_plain(value)}")


def _plain(value: Any) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return f"[{','.join(map(_plain, value))}]"
    return json.dumps(value)
