"""All that a sweep's report says, worked out once for the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.core.evaluation import BUSY, MEASURE_AGAIN
from compress.core.metric import ACCURACY, Label
from compress.report.sweep.alike import differences, require_alike
from compress.report.sweep.choice import Choice, choose, margin_for
from compress.report.sweep.contributions import Contribution, contributions
from compress.report.sweep.effects import Effect, main_effects
from compress.report.sweep.factors import Factor, factors_of
from compress.report.sweep.recommendation import Recommendation, recommend
from compress.report.sweep.runs import Run, find_runs
from compress.report.sweep.standing import Standing, standing_of

# So many runs are named, of those that are not compared.
_NAMED = 4


@dataclass(frozen=True)
class Evidence:
    """title: what the runs are called together. effects: on speed and bytes as logarithms, on the metric as it is.

    notes: what the runs do not share. damage: what could not be read, with the run's name.
    """

    title: str
    metric: Label
    standings: tuple[Standing, ...]
    factors: tuple[Factor, ...]
    contributions: tuple[Contribution, ...]
    effects: dict[str, list[Effect]]
    choice: Choice
    recommendation: Recommendation
    notes: tuple[str, ...]
    damage: tuple[str, ...]


def gather(folders: Sequence[Path], margin: float | None) -> Evidence:
    """Read the runs in `folders` and work everything out.

    margin: a fraction; None takes the strictest that the runs themselves asked for. Raises InputError for folders
    without runs, runs that cannot be compared, and a margin that is none.
    """
    return evidence_of(find_runs(folders), margin)


def evidence_of(runs: Sequence[Run], margin: float | None) -> Evidence:
    """What these runs say together: see `gather`."""
    require_alike(runs)
    standings = tuple(standing_of(run) for run in runs)
    factors = tuple(factors_of(runs))
    choice = choose(standings, margin_for(standings, margin))
    summaries = [run.summary for run in runs if run.summary is not None]
    metric = Label.from_json(summaries[0]) if summaries else ACCURACY
    recipes = dict.fromkeys(str(summary.get("recipe")) for summary in summaries)
    return Evidence(
        title=", ".join(recipes) or "sweep",
        metric=metric,
        standings=standings,
        factors=factors,
        contributions=tuple(contributions(runs)),
        effects=_effects(standings, factors),
        choice=choice,
        recommendation=recommend(choice, standings, factors, metric),
        notes=(*differences(runs), *_busy(standings)),
        damage=tuple(f"{run.name}: {sentence}" for run in runs for sentence in run.damage),
    )


def _busy(standings: Sequence[Standing]) -> list[str]:
    """A sentence about models that are not compared, because nobody knows how fast they are."""
    names = [standing.run.name for standing in standings if standing.exported and standing.busy]
    if not names:
        return []
    return [
        f"{BUSY}, in {len(names)} of {len(standings)} runs ({', '.join(names[:_NAMED])}"
        f"{', and others' if len(names) > _NAMED else ''}): they are not compared. The same command with "
        f"{MEASURE_AGAIN} measures what was disturbed, and only that"
    ]


def _effects(standings: Sequence[Standing], factors: Sequence[Factor]) -> dict[str, list[Effect]]:
    numbers: dict[str, list[float | None]] = {
        "speed": [math.log(standing.speedup or 1.0) if standing.drawn else None for standing in standings],
        "metric": [standing.difference if standing.drawn else None for standing in standings],
        "bytes": [math.log(standing.size_bytes or 1.0) if standing.drawn else None for standing in standings],
    }
    return {name: main_effects(factors, column) for name, column in numbers.items()}
