"""Why a stage may have missed its limits, and what to try instead. Facts and settings; `report` puts them in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.core.evaluation import Interval

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.core.latency_table import LatencyTable


@dataclass(frozen=True)
class Slice:
    """The candidate against the teacher on some of the validation examples.

    by: what was sliced by, `class` or `length`. name: which slice. teacher: its score there. difference: candidate
    minus teacher, with an interval whose ends are one-sided bounds at the gate's confidence. shown: whether the
    candidate is shown to be worse there, by a one-sided test at 1 - confidence with Holm's correction for all slices.
    """

    by: str
    name: str
    examples: int
    teacher: float
    difference: float
    interval: Interval
    shown: bool


@dataclass(frozen=True)
class Restored:
    """The candidate with one part taken from the model before the stage, on a sample.

    recovered: the share of the divergence that the stage added which is gone then: 1 where all is, below 0 where it
    grew. score_change: against the candidate as it is.
    """

    part: str
    recovered: float
    score_change: float


@dataclass(frozen=True)
class Advice:
    """overrides: as typed on the command line. speedup: what to expect against the teacher on the same runtime, or
    None where it is not known; at_least: the least it could be, the model's before the stage. recovered: the share of
    the divergence that this took away on the sample, measured, or None where it was not."""

    overrides: tuple[str, ...]
    speedup: float | None
    at_least: float | None
    recovered: float | None


@dataclass(frozen=True)
class Blame:
    """What was found out about a stage that missed its limits.

    slices: the worst first. compared: how many were. restored: the most helpful part first. examples: in the sample.
    divergence_before, divergence: of the model before the stage and of its result from the teacher on the sample, mean
    KL of the logits in nats. notes: what could not be found out, and why.
    """

    slices: tuple[Slice, ...] = ()
    compared: int = 0
    restored: tuple[Restored, ...] = ()
    examples: int = 0
    divergence_before: float | None = None
    divergence: float | None = None
    advice: Advice | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Blame:
        """What `dataclasses.asdict` gave, after a round trip through JSON."""
        advice = data["advice"]
        return cls(
            **{
                **data,
                "slices": tuple(Slice(**{**entry, "interval": tuple(entry["interval"])}) for entry in data["slices"]),
                "restored": tuple(Restored(**entry) for entry in data["restored"]),
                "advice": None if advice is None else Advice(**{**advice, "overrides": tuple(advice["overrides"])}),
                "notes": tuple(data["notes"]),
            }
        )


@dataclass(frozen=True)
class Setback:
    """What a stage is told that missed its limits, when it is asked for milder settings.

    before, after: the models. worst: paths of modules that should be as they were, the most harmful first; empty where
    that was not measured, or is not to be had by single modules. worst_share: of the time that the stage saved, what
    they would cost. latency: the runtime's latency table for layers of the fused sizes given, as in Context.
    """

    before: PreTrainedModel
    after: PreTrainedModel
    worst: Sequence[str]
    worst_share: float
    latency: Callable[[Any], LatencyTable]


@dataclass(frozen=True)
class Milder:
    """settings: of the stage, by name, where they differ. time_share: the share of the time saved by the stage that
    they are expected to give back, or None where that is not known."""

    settings: Mapping[str, Any]
    time_share: float | None
