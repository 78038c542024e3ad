"""What is tried, one setting after the other.

A grid of all would take hours, and most of it is settings that do not meet: so each is tried with the best of those
before it, in this order. Threads come first, since they change most, and what every other setting is worth: what spins,
what is pinned and what runs beside each other are all questions about threads. Then how many examples a call computes
together, which decides the shapes; then padding, which changes nothing for single examples; then what threads do while
they wait; memory last, which changes least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from compress.deploy.batching import PADDINGS
from compress.deploy.settings import OnnxServing, Settings


@dataclass(frozen=True)
class Coordinate:
    """others: settings that differ from the given ones in this alone; none where there is nothing to try."""

    name: str
    others: Callable[[Settings], Sequence[Settings]]


def coordinates(*, processors: int, largest_batch: int) -> list[Coordinate]:
    """In their order. processors: how many this process may use. largest_batch: 1 where only single examples are."""
    return [
        Coordinate("threads", lambda now: _threads(now, processors)),
        Coordinate("batch size", lambda now: _batch_sizes(now, largest_batch)),
        Coordinate("padding", _paddings),
        Coordinate("spinning", lambda now: _flipped(now, "spinning") if now.session.threads > 1 else []),
        Coordinate("pinned threads", lambda now: _flipped(now, "pinned") if now.session.threads > 1 else []),
        Coordinate("operators at once", lambda now: _inter_op(now, processors)),
        Coordinate("memory", _memory),
    ]


def describe(settings: Settings, name: str) -> str:
    """What a coordinate is set to, in a word or two."""
    session, batching = settings.session, settings.batching
    told = {"threads": str(session.threads), "batch size": str(batching.batch_size), "padding": batching.padding}
    if isinstance(session, OnnxServing):
        arena = "kept" if session.memory_arena else "given back"
        told |= {
            "spinning": "on" if session.spinning else "off",
            "pinned threads": "on" if session.pinned else "off",
            "operators at once": str(session.inter_op_threads),
            "memory": arena + (", planned" if session.memory_pattern else ", not planned"),
        }
    return told[name]


def _threads(now: Settings, processors: int) -> list[Settings]:
    counts = sorted({processors, *(1 << power for power in range(processors.bit_length()) if 1 << power <= processors)})
    return [replace(now, session=replace(now.session, threads=n)) for n in counts if n != now.session.threads]


def _batch_sizes(now: Settings, largest: int) -> list[Settings]:
    sizes = [1 << power for power in range(largest.bit_length())]
    return [
        replace(now, batching=replace(now.batching, batch_size=size))
        for size in sizes
        if size != now.batching.batch_size
    ]


def _paddings(now: Settings) -> list[Settings]:
    # ONNX Runtime takes every shape alike; where single examples are computed, more padding is more work alone.
    if isinstance(now.session, OnnxServing) and now.batching.batch_size == 1:
        return []
    return [replace(now, batching=replace(now.batching, padding=p)) for p in PADDINGS if p != now.batching.padding]


def _flipped(now: Settings, name: str) -> list[Settings]:
    session = now.session
    if not isinstance(session, OnnxServing):
        return []
    return [replace(now, session=replace(session, **{name: not getattr(session, name)}))]


def _inter_op(now: Settings, processors: int) -> list[Settings]:
    if not isinstance(now.session, OnnxServing) or processors == 1:
        return []
    return [replace(now, session=replace(now.session, inter_op_threads=2))]


def _memory(now: Settings) -> list[Settings]:
    session = now.session
    if not isinstance(session, OnnxServing):
        return []
    pairs = [(True, False), (False, False)]
    return [replace(now, session=replace(session, memory_arena=a, memory_pattern=p)) for a, p in pairs]
