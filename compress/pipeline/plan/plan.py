"""A plan: the pieces of a run, what is left to do of each, time, and disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from compress.measure.effort import Estimate

Need = Literal["nothing", "measuring", "all"]
ORDER_OF_NEED: tuple[Need, ...] = ("nothing", "measuring", "all")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An artifact with what is measured on it.

    stage: `teacher`, or a stage's name. parent: the stage it starts from. key: the artifact's; made up, and in no
    store, where `waits_for` is given: the stage that first has to make the tokenizer that it depends on. need: what is
    left to do. verdict: what an earlier run found, or None. decision: what the run then does; `keep` is assumed where
    there is no verdict yet. seconds: of what is left, None where no earlier work tells. training_seconds: then, where
    it trains, at most so many for that, by the pace of a few steps of a model like the teacher. bytes: kept afterwards
    at most.
    """

    stage: str
    parent: str | None
    key: str
    waits_for: str | None
    need: Need
    verdict: str | None
    decision: str
    seconds: Estimate | None
    training_seconds: float | None
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one recipe would do in one folder.

    pieces: the teacher, and the stages up to the last that will run. skipped: stages after one that is known to stop
    the run. test: whether the test split has to be scored; None where it is not yet known, or there is none. examples:
    of each split. training_bytes: needed for a while beside what is kept. teacher_vectors_bytes: what the teacher says
    inside, kept where it takes at most half of the free disk. free: bytes, where the store is. notes: what the data's
    source decided by itself.
    """

    pieces: tuple[Piece, ...]
    skipped: tuple[str, ...]
    test: bool | None
    examples: Mapping[str, int]
    labels: tuple[str, ...]
    model: str
    parameters: int
    training_bytes: int
    teacher_vectors_bytes: int
    free: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Total:
    """Several plans together, what they share counted once.

    stages: artifacts of all plans; distinct: different ones among them; of these, to_make and to_measure are left to
    do and stored are not. seconds: of what is left and known; unknown: pieces whose time no earlier work tells, whose
    training takes at most training_seconds. bytes: kept afterwards at most.
    """

    stages: int
    distinct: int
    to_make: int
    to_measure: int
    stored: int
    seconds: float
    unknown: int
    training_seconds: float
    bytes: int


def total(plans: Sequence[Plan]) -> Total:
    """The work of all of them, each distinct piece once."""
    pieces = [piece for plan in plans for piece in plan.pieces]
    # A piece that one plan makes is there for the others; what they need less of it is no reason to do less.
    distinct = {piece.key: piece for piece in sorted(pieces, key=lambda piece: ORDER_OF_NEED.index(piece.need))}
    left = [piece for piece in distinct.values() if piece.need != "nothing"]
    return Total(
        stages=len(pieces),
        distinct=len(distinct),
        to_make=sum(piece.need == "all" for piece in left),
        to_measure=sum(piece.need == "measuring" for piece in left),
        stored=len(distinct) - len(left),
        seconds=sum(piece.seconds.seconds for piece in left if piece.seconds is not None),
        unknown=sum(piece.seconds is None for piece in left),
        training_seconds=sum(piece.training_seconds or 0 for piece in left),
        bytes=sum(piece.bytes for piece in left),
    )
