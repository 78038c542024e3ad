"""Plans together: what several jobs share is counted once."""

from __future__ import annotations

from typing import Any

from compress.measure.effort import Estimate
from compress.pipeline.plan.plan import Piece, Plan, Total, total


def _piece(key: str, need: Any, seconds: float | None = None, size: int = 0) -> Piece:
    return Piece(
        stage=key,
        parent=None,
        key=key,
        waits_for=None,
        need=need,
        verdict=None,
        decision="keep",
        seconds=None if seconds is None else Estimate(seconds, 1.0),
        training_seconds=5.0 if seconds is None else None,
        bytes=size,
    )


def _plan(*pieces: Piece) -> Plan:
    return Plan(
        pieces=pieces,
        skipped=(),
        test=None,
        examples={},
        labels=(),
        model="bert",
        parameters=1,
        training_bytes=0,
        teacher_vectors_bytes=0,
        free=0,
        notes=(),
    )


def test_shared_work_is_counted_once() -> None:
    first = _plan(
        _piece("teacher", "nothing", 0.0), _piece("distilled", "all", 60.0, 100), _piece("half", "all", 20.0, 50)
    )
    # Another way of measuring: the teacher is there, and yet to be measured so.
    second = _plan(
        _piece("teacher", "measuring", 7.0, 1),
        _piece("distilled", "all", 60.0, 100),
        _piece("third", "measuring", None, 25),
    )
    assert total([first, second]) == Total(
        stages=6,
        distinct=4,
        to_make=2,
        to_measure=2,
        stored=0,
        seconds=87.0,
        unknown=1,
        training_seconds=5.0,
        bytes=176,
    )
