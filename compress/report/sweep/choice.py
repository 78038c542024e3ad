"""The run to take for a stated margin: the fastest whose validation difference lies within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.core.checks import require_fraction
from compress.core.errors import InputError
from compress.report.sweep.standing import Standing


@dataclass(frozen=True)
class Choice:
    """best: None where no exported model lies within the margin. proven: whether its whole interval does, or
    labels of further texts prove it.

    faster: the fastest model whose measured difference lies within the margin but not its interval, where it is faster
    than a proven `best`. nearest: where there is no best, the exported model that comes nearest.
    """

    margin: float
    best: Standing | None
    proven: bool
    faster: Standing | None
    nearest: Standing | None


def choose(standings: Sequence[Standing], margin: float) -> Choice:
    """Proven before unproven, then the fastest. margin: a fraction; the test split is not looked at.

    A model that lost a class is none to take, whatever the margin says of the metric; against a teacher that is worth
    no more than a guess nothing is proven. Labels of further texts prove a limit within the margin too, and what they
    contradict is not proven.
    """
    exported = [standing for standing in standings if standing.exported and standing.drawn]
    whole = [standing for standing in exported if standing.row is None or not standing.row.missed]
    within = [standing for standing in whole if _difference(standing) >= -margin]
    proven = [standing for standing in within if _proven(standing, margin)]
    fastest = max(within, key=_speed, default=None)
    if not proven:
        nearest = max(whole, key=_difference, default=None) if fastest is None else None
        return Choice(margin, fastest, False, None, nearest)
    best = max(proven, key=_speed)
    faster = fastest if fastest is not None and fastest not in proven and _speed(fastest) > _speed(best) else None
    return Choice(margin, best, True, faster, None)


def on_validation(standing: Standing, margin: float) -> bool:
    """Whether the validation split alone proves that a model lies within the margin."""
    return standing.interval is not None and standing.interval[0] > -margin


def _proven(standing: Standing, margin: float) -> bool:
    by_labels = standing.proven_within is not None and standing.proven_within <= margin
    contradicted = bool(standing.doubts) or standing.status == "failed by labels"
    return (on_validation(standing, margin) or by_labels) and not contradicted


def margin_for(standings: Sequence[Standing], stated: float | None) -> float:
    """The stated margin, else the strictest `objective.max_accuracy_drop` among the runs.

    Raises InputError for a margin outside (0, 1], and where none is stated and no run has one.
    """
    if stated is not None:
        require_fraction("--margin", stated, "Use 0.01 for one point.")
        return stated
    asked = {standing.run.settings.get("objective.max_accuracy_drop", "null") for standing in standings}
    known = [float(margin) for margin in asked if margin != "null"]
    if not known:
        raise InputError(
            "--margin is not given, and no run records objective.max_accuracy_drop, which would stand for it. "
            "Add --margin 0.01 for one point."
        )
    return min(known)


def _difference(standing: Standing) -> float:
    assert standing.difference is not None
    return standing.difference


def _speed(standing: Standing) -> float:
    assert standing.speedup is not None
    return standing.speedup
