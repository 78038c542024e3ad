"""Latency as candidates see it that take turns: one process each, short blocks, everybody else asleep."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from compress.core.recipe import Measurement
from compress.measure.bystanders import Bystanders
from compress.measure.processes import Candidate, Timed, Worker, one_measurement_at_a_time

Rounds = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Turns:
    """What one candidate took, as rounds of one value per chosen example, in milliseconds.

    whole: each use of the model; one call, or a prompt and all tokens after it. first: until its first answer: the same
    for one call. peak_bytes: the most memory that its process ever had.
    """

    whole: Rounds
    first: Rounds
    peak_bytes: int


def representative(lengths: Sequence[int], count: int) -> list[int]:
    """Indices of `count` examples (all, where there are fewer) at evenly spaced quantiles of the lengths."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    if count >= len(order):
        return [int(i) for i in order]
    positions = (np.arange(count) + 0.5) * len(order) / count
    return [int(order[int(position)]) for position in positions]


def measure_in_turns(
    candidates: Sequence[Candidate],
    batches: Sequence[Path],
    chosen: Sequence[int],
    measurement: Measurement,
    bystanders: Bystanders | None = None,
) -> list[Rounds]:
    """Milliseconds per example for each candidate, as rounds of one value per chosen example: see `uses_in_turns`."""
    return [turns.whole for turns in uses_in_turns(candidates, batches, chosen, measurement, bystanders)]


def measure_each_in_turns(
    candidates: Sequence[Timed],
    batches: Sequence[Path],
    chosen: Sequence[Sequence[int]],
    measurement: Measurement,
    bystanders: Bystanders | None = None,
) -> list[Rounds]:
    """Milliseconds per batch for each candidate, as rounds of one value for each of its own chosen batches."""
    return [turns.whole for turns in _in_turns(candidates, batches, chosen, measurement, bystanders)]


def uses_in_turns(
    candidates: Sequence[Candidate],
    batches: Sequence[Path],
    chosen: Sequence[int],
    measurement: Measurement,
    bystanders: Bystanders | None = None,
) -> list[Turns]:
    """What each candidate takes for each chosen example. batches: for each candidate the same examples, as it reads
    them."""
    return _in_turns(candidates, batches, [chosen] * len(candidates), measurement, bystanders)


def _in_turns(
    candidates: Sequence[Timed],
    batches: Sequence[Path],
    chosen: Sequence[Sequence[int]],
    measurement: Measurement,
    bystanders: Bystanders | None,
) -> list[Turns]:
    """batches, chosen: for each candidate its file, and which batches of it.

    In every round the order turns around (A B, then B A), so that a drift of the machine's speed favours nobody. After
    `measurement.rounds` rounds all processes are started anew, because two processes of the very same program differ a
    little for as long as they live. The machine-wide lock is held throughout. bystanders: watch the timed rounds.
    """
    samples: list[list[dict[str, Any]]] = [[] for _ in candidates]
    commands = [{"time": list(own), "warmup": measurement.warmup} for own in chosen]
    total = measurement.launches * measurement.rounds
    with (
        tqdm(total=total, desc="waiting for another measurement", unit="round", leave=False) as bar,
        one_measurement_at_a_time(),
    ):
        bar.set_description("latency")
        for launch in range(measurement.launches):
            with contextlib.ExitStack() as stack:
                # Memory is handed out in the order of starting: that, too, takes turns.
                numbered = list(enumerate(candidates))[:: 1 if launch % 2 == 0 else -1]
                workers = {i: stack.enter_context(Worker(candidate, batches[i])) for i, candidate in numbered}
                for i, worker in workers.items():
                    worker.ask(commands[i])
                    worker.wait_until_asleep()
                if bystanders is not None:
                    stack.enter_context(bystanders.watching([worker.pid for worker in workers.values()]))
                for turn in range(measurement.rounds):
                    order = range(len(candidates))[:: 1 if turn % 2 == 0 else -1]
                    for i in order:
                        samples[i].append(workers[i].ask(commands[i]))
                        workers[i].wait_until_asleep()
                    bar.update()
    return [
        Turns(
            whole=tuple(tuple(answer["milliseconds"]) for answer in answers),
            first=tuple(tuple(answer["first"]) for answer in answers),
            peak_bytes=max((answer["peak_bytes"] for answer in answers), default=0),
        )
        for answers in samples
    ]
