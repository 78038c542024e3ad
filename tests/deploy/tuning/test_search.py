"""One setting after the other, on a machine that is made up: milliseconds by a formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from compress.deploy.settings import Batching, OnnxServing, OpenVinoServing, Settings
from compress.deploy.tuning.aim import Aim, Measured
from compress.deploy.tuning.coordinates import coordinates, describe
from compress.deploy.tuning.search import search

START = Settings(session=OnnxServing.usual(4, pinned=False), batching=Batching(batch_size=1, padding="longest"))
TEXTS = 32


class Machine:
    """Two threads are best; a call costs 1 ms and half a millisecond for each text; spinning off gains a fifth, with
    two threads alone; nothing else changes anything."""

    def __init__(self) -> None:
        self.asked: list[Sequence[Settings]] = []

    def __call__(self, settings: Sequence[Settings]) -> list[Measured]:
        self.asked.append(settings)
        return [self._measured(one) for one in settings]

    def _measured(self, settings: Settings) -> Measured:
        session, size = settings.session, settings.batching.batch_size
        assert isinstance(session, OnnxServing)
        factor = {1: 1.5, 2: 1.0, 4: 2.0}[session.threads]
        factor *= 0.8 if session.threads == 2 and not session.spinning else 1.0
        call = factor * (1 + 0.5 * size)
        rounds = tuple((call * (1 + 0.001 * launch),) * (TEXTS // size) for launch in range(4) for _ in range(3))
        return Measured(settings=settings, rounds=rounds, launches=4, examples=TEXTS)


def tried(*, largest: int, aim: Aim, processors: int = 4) -> tuple[Machine, Settings, list[str]]:
    machine, begun = Machine(), []
    steps = search(START, coordinates(processors=processors, largest_batch=largest), aim, machine, begun.append)
    assert begun == [
        "threads", "batch size", "padding", "spinning", "pinned threads", "operators at once", "memory",
    ]  # fmt: skip
    return machine, steps[-1].taken.settings, [step.coordinate for step in steps if step.changed]


def test_each_setting_is_tried_with_the_best_of_those_before() -> None:
    machine, found, changed = tried(largest=1, aim=Aim(slo_ms=None, quantile=0.95))
    assert changed == ["threads", "spinning"]
    assert found == dataclasses.replace(START, session=dataclasses.replace(START.session, threads=2, spinning=False))
    assert [[one.session.threads for one in asked] for asked in machine.asked[:2]] == [[4, 1, 2], [2, 2]]
    # No batches, and so no padding, were asked for: threads, spinning, pinned, operators, memory.
    assert len(machine.asked) == 5
    assert all(one.batching.batch_size == 1 for asked in machine.asked for one in asked)


def test_the_largest_batch_that_keeps_the_latency() -> None:
    # With two threads a call of 8 takes 5 ms, one of 16 takes 9; then spinning off, a fifth less.
    _, found, changed = tried(largest=32, aim=Aim(slo_ms=6, quantile=0.95))
    assert (found.session.threads, found.batching.batch_size) == (2, 8)
    assert changed == ["threads", "batch size", "spinning"]


def test_nothing_within_reach_ends_at_the_nearest() -> None:
    _, found, _ = tried(largest=32, aim=Aim(slo_ms=0.1, quantile=0.95))
    assert (found.session.threads, found.batching.batch_size) == (2, 1)
    assert isinstance(found.session, OnnxServing) and not found.session.spinning


def test_one_processor_leaves_nothing_to_ask_about_threads() -> None:
    start = dataclasses.replace(START, session=OnnxServing.usual(1, pinned=False))
    names = [one.name for one in coordinates(processors=1, largest_batch=1) if one.others(start)]
    assert names == ["memory"]


def test_what_openvino_has() -> None:
    start = Settings(session=OpenVinoServing(threads=2, precision="f32"), batching=START.batching)
    found = {one.name: one.others(start) for one in coordinates(processors=4, largest_batch=4)}
    assert [describe(one, "threads") for one in found["threads"]] == ["1", "4"]
    assert [describe(one, "batch size") for one in found["batch size"]] == ["2", "4"]
    assert [describe(one, "padding") for one in found["padding"]] == ["powers"]
    assert not any(found[name] for name in ("spinning", "pinned threads", "operators at once", "memory"))


def test_every_processor_count_is_tried_by_powers_of_two() -> None:
    (threads, *_) = coordinates(processors=6, largest_batch=1)
    assert [one.session.threads for one in threads.others(START)] == [1, 2, 6]
