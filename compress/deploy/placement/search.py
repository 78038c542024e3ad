"""The fastest placement that fits, exactly; the two that people take without searching; and what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, product

from compress.deploy.placement.problem import Phase, Placement, Problem, Run, fits, total_ms

# How finely what is missing is found out.
GRAIN = 4096
# Devices that have blocks already, as bits, and the one that holds the last of them.
State = tuple[int, str]


@dataclass(frozen=True)
class _Way:
    """The best that leads to a state: its milliseconds, its last run, and the way before it."""

    milliseconds: float
    run: Run
    before: _Way | None

    def runs(self) -> tuple[Run, ...]:
        """From the first."""
        return (*(() if self.before is None else self.before.runs()), self.run)


def best(problem: Problem, phase: Phase) -> Placement | None:
    """The placement with the least milliseconds that fits; None where none does. Among equals one with fewer runs.

    Blocks are placed in runs, no two on one device; embeddings and head each on any. For each pair of devices of those
    two, a dynamic programme over (blocks placed, devices used, device of the last) finds the best of all: at most
    d^2 * 2^d * d^2 * n^2 steps of d devices and n blocks.
    """
    found: tuple[float, int] = (math.inf, 0)
    chosen = None
    for embeddings, head in product(problem.memory, repeat=2):
        for runs in _best_runs(problem, phase, embeddings, head):
            placement = Placement(embeddings, runs, head)
            taken = total_ms(problem, placement, phase)
            if chosen is None or (taken, len(runs)) < found:
                found, chosen = (taken, len(runs)), placement
    return chosen


def _best_runs(problem: Problem, phase: Phase, embeddings: str, head: str) -> Iterator[tuple[Run, ...]]:
    """For each set of devices the best runs between these two ends, where there are any that fit."""
    devices = tuple(problem.memory)
    free = {device: _free(problem, device, embeddings, head) for device in devices}
    # Ends that do not fit are none, wherever the blocks are.
    if free[embeddings] < 0 or free[head] < 0:
        return
    count = problem.blocks
    needed = (0, *accumulate(map(sum, zip(problem.needs.blocks, problem.needs.caches, strict=True))))
    times = {
        device: (0.0, *accumulate(getattr(block, phase) for block in problem.costs[device].blocks))
        for device in devices
    }
    ways: list[dict[State, _Way]] = [{} for _ in range(count + 1)]
    for end in range(1, count + 1):
        for place, device in enumerate(devices):
            entry = getattr(problem.costs[device].entry, phase)
            for start in reversed(range(end)):
                if needed[end] - needed[start] > free[device]:
                    break
                inside = entry + times[device][end] - times[device][start]
                for used, before in _earlier(ways[start], start, place):
                    last = embeddings if before is None else before.run.device
                    arrived = 0.0 if before is None else before.milliseconds
                    taken = arrived + problem.hop(last, device, phase) + inside
                    state = (used | 1 << place, device)
                    known = ways[end].get(state)
                    if known is None or taken < known.milliseconds:
                        ways[end][state] = _Way(taken, Run(device, start, end), before)
    yield from (way.runs() for way in ways[count].values())


def _earlier(ways: dict[State, _Way], start: int, place: int) -> Iterator[tuple[int, _Way | None]]:
    """What a run on the device number `place` can follow, with the devices used by then."""
    if start == 0:
        yield 0, None
        return
    yield from ((used, way) for (used, _), way in ways.items() if not used & 1 << place)


def _free(problem: Problem, device: str, embeddings: str, head: str) -> int:
    """Bytes that are left for blocks."""
    needs = problem.needs
    taken = needs.activations
    taken += needs.embeddings if device == embeddings else 0
    taken += needs.head if device == head else 0
    taken -= needs.shared if device == embeddings == head else 0
    return problem.memory[device] - taken


def first_filled(problem: Problem) -> Placement | None:
    """As much as fits on the first device, then on the next: in the user's order, from the embeddings on. None where
    the last is full before the head."""
    devices = list(problem.memory)
    runs: list[Run] = []
    start, first = 0, None
    for device in devices:
        if first is None:
            if _free(problem, device, device, "") < 0:
                continue
            first = device
        end = start
        while end < problem.blocks and _holds(problem, device, first, start, end + 1):
            end += 1
        if end > start:
            runs.append(Run(device, start, end))
            start = end
        if start == problem.blocks:
            for head in devices[devices.index(device) :]:
                placement = Placement(first, tuple(runs), head)
                if fits(problem, placement):
                    return placement
            return None
    return None


def _holds(problem: Problem, device: str, first: str, start: int, end: int) -> bool:
    needed = sum(problem.needs.blocks[start:end]) + sum(problem.needs.caches[start:end])
    return needed <= _free(problem, device, first, "")


def any_fits(problem: Problem) -> bool:
    """Whether there is a placement at all."""
    return best(problem, "token") is not None


def missing_bytes(problem: Problem) -> tuple[str, int]:
    """The device that would need the least more for there to be a placement, and how many bytes. Raises ValueError
    where there is one."""
    if any_fits(problem):
        raise ValueError("it fits")
    return min(((device, _missing(problem, device)) for device in problem.memory), key=lambda found: found[1])


def _missing(problem: Problem, device: str) -> int:
    """By halving, to a part in `GRAIN` of the model: with more memory there are never fewer placements, and with
    `total` more there is one."""
    too_few, enough = 0, problem.needs.total
    while enough - too_few > max(1, problem.needs.total // GRAIN):
        middle = (too_few + enough) // 2
        memory = {**problem.memory, device: problem.memory[device] + middle}
        if any_fits(replace(problem, memory=memory)):
            enough = middle
        else:
            too_few = middle
    return enough
