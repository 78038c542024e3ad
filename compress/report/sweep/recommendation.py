"""The recommended choice in plain sentences, for the page and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compress.core.evaluation import BUSY
from compress.core.metric import Label, Unit
from compress.report import wording
from compress.report.sweep.choice import Choice, on_validation
from compress.report.sweep.factors import Factor
from compress.report.sweep.nested import value_at
from compress.report.sweep.standing import Standing
from compress.report.wording import DECIMALS, finite, finite_interval, three_digits

_TOLD_SETTINGS = 4


@dataclass(frozen=True)
class Recommendation:
    """headline: one sentence. tone: `good` (proven), `unsure` (unproven) or `bad` (nothing to take). badge: one word.

    details: further sentences. test: what the test split says of this one run; empty where it was not used.
    """

    headline: str
    tone: str
    badge: str
    details: tuple[str, ...]
    test: str


def recommend(
    choice: Choice, standings: Sequence[Standing], factors: Sequence[Factor], metric: Label
) -> Recommendation:
    """Put the choice in words."""
    unit = metric.unit
    limit = wording.counted(wording.amount(-choice.margin, unit, DECIMALS), unit)
    candidates = sum(standing.exported and standing.drawn for standing in standings)
    best = choice.best
    if best is None:
        busy = sum(standing.exported and standing.busy for standing in standings)
        return Recommendation(_none(choice, limit, candidates, unit, busy), "bad", "nothing to take", (), "")
    headline = (
        f"Take run {best.run.name}{_settings(best, standings, factors)}: {three_digits(best.speedup)} times the "
        f"teacher's speed in {wording.megabytes(best.size_bytes)} MB, {_difference(best, unit)} on validation."
    )
    details = [_why(choice, limit, candidates, metric.title)]
    if choice.faster is not None:
        other = choice.faster
        details.append(
            f"Run {other.run.name}{_settings(other, standings, factors)} is faster, "
            f"{three_digits(other.speedup)} times, but unproven: {_difference(other, unit)}."
        )
    details += best.labels
    if not choice.proven and best.reasons:
        details.append(f"What its own run says: {'; '.join(best.reasons)}.")
    if candidates > 1:
        details.append(
            f"It was chosen by validation among {candidates} models, so its validation numbers are somewhat hopeful: "
            "the best of many is partly the luckiest. Each interval holds for one model by itself."
        )
    proof = "proven on validation" if on_validation(best, choice.margin) else "proven by labels"
    badge = proof if choice.proven else "unproven"
    return Recommendation(
        headline, "good" if choice.proven else "unsure", badge, tuple(details), _test(choice, limit, unit)
    )


def _none(choice: Choice, limit: str, candidates: int, unit: Unit, busy: int) -> str:
    if choice.nearest is None and candidates:
        return "Nothing to take: every exported model lost a class that the teacher finds."
    if choice.nearest is None and busy:
        return f"Nothing to take yet: {BUSY}."
    if choice.nearest is None:
        return "Nothing to take: no run exported a measured model."
    return (
        f"Nothing to take: none of {candidates} models stays within {limit} of the teacher on validation. "
        f"Run {choice.nearest.run.name} comes nearest, {_difference(choice.nearest, unit)}."
    )


def _why(choice: Choice, limit: str, candidates: int, title: str) -> str:
    if choice.proven:
        among = "The" if candidates == 1 else f"Of {candidates} models the"
        assert choice.best is not None
        how = "on validation" if on_validation(choice.best, choice.margin) else "by labels of further texts"
        return f"{among} fastest whose {title} is proven {how} to lie within {limit} of the teacher's."
    among = "This" if candidates == 1 else f"Of {candidates} models this"
    return (
        f"No model is proven to lie within {limit} of the teacher. {among} is the fastest whose measured difference "
        "does; its interval reaches beyond."
    )


def _settings(standing: Standing, standings: Sequence[Standing], factors: Sequence[Factor]) -> str:
    """The settings that tell a run from the others, the first few: ` (heads 0.5, neurons 0.75)`."""
    place = standings.index(standing)
    told = ", ".join(f"{factor.short} {factor.values[place]}" for factor in factors[:_TOLD_SETTINGS])
    return f" ({told})" if told else ""


def _difference(standing: Standing, unit: Unit) -> str:
    return wording.counted(
        wording.difference_with_interval(standing.difference, standing.interval, unit, DECIMALS), unit
    )


def _test(choice: Choice, limit: str, unit: Unit) -> str:
    assert choice.best is not None
    test: Mapping[str, Any] | None = value_at(choice.best.run.summary, "student", "test")
    if test is None or finite(test["difference"]) is None:
        return ""
    ends = finite_interval(test["interval"])
    told = wording.counted(wording.difference_with_interval(test["difference"], ends, unit, DECIMALS), unit)
    sentence = f"On the test split, {test['examples']:,} examples that took no part in any choice: {told}"
    if ends is None:
        return f"{sentence}."
    if ends[0] > -choice.margin:
        return f"{sentence}, which confirms {limit}."
    if ends[1] < -choice.margin:
        return f"{sentence}, which contradicts {limit}."
    return f"{sentence}, which alone does not decide {limit}."
