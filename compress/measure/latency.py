"""Latency as candidates see it that take turns: one process each, short blocks, everybody else asleep."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from compress.core.recipe import Measurement
from compress.measure.bystanders import Bystanders
from compress.measure.environment import allowed_cpus
from compress.measure.processes import Candidate, Timed, Worker, one_measurement_at_a_time
from compress.measure.waits import Waits

Rounds = tuple[tuple[float, ...], ...]
# What a worker says of a turn.
Answer = Mapping[str, Any]
# The answers of all in a round, and whether others disturbed it; None where nobody knows.
Round = tuple[Mapping[int, Answer], bool | None]
# A launch of so many of its rounds is a measurement still.
LEAST_QUIET = 2 / 3


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


def alike(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Indices of `lengths`, shortest first, `count` together; what does not fill a last batch is left out, so that all
    have as many."""
    order = np.argsort(np.asarray(lengths), kind="stable").tolist()
    return [order[start : start + count] for start in range(0, len(order) - count + 1, count)]


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
    little for as long as they live. A round that others disturbed is thrown away as a whole and taken again, as long as
    `measurement.retry_seconds` last: they are shared among the launches, so that the first does not use them up. What
    is disturbed after that is left out, where enough is left: see `quiet_rounds`. The machine-wide lock is held
    throughout. bystanders: watch the timed rounds, and know afterwards which were disturbed.
    """
    launches: list[list[Round]] = []
    commands = [{"time": list(own), "warmup": measurement.warmup} for own in chosen]
    threads = max(candidate.runtime.threads for candidate in candidates)
    watch = Bystanders(allowed_cpus()[:threads]) if bystanders is None else bystanders
    patience = _Patience(measurement)
    with (
        tqdm(
            total=measurement.launches * measurement.rounds,
            desc="waiting for another measurement",
            unit="round",
            leave=False,
        ) as bar,
        one_measurement_at_a_time(),
    ):
        bar.set_description("latency")
        for launch in range(measurement.launches):
            watch.begin_launch()
            patience.begin_launch()
            with contextlib.ExitStack() as stack:
                # Memory is handed out in the order of starting: that, too, takes turns.
                numbered = list(enumerate(candidates))[:: 1 if launch % 2 == 0 else -1]
                workers = {i: stack.enter_context(Worker(candidate, batches[i])) for i, candidate in numbered}
                for i, worker in workers.items():
                    worker.ask(commands[i])
                    worker.wait_until_asleep()
                stack.enter_context(watch.watching([worker.pid for worker in workers.values()]))
                launches.append(_rounds(workers, commands, measurement.rounds, watch, patience, bar))
    chosen_rounds = [one for launch in quiet_rounds(launches) for one in launch]
    watch.left_out_rounds += sum(map(len, launches)) - len(chosen_rounds)
    for _, disturbed in chosen_rounds:
        watch.keep(disturbed)
    kept = [answers for answers, _ in chosen_rounds]
    return [
        Turns(
            whole=tuple(tuple(answers[i]["milliseconds"]) for answers in kept),
            first=tuple(tuple(answers[i]["first"]) for answers in kept),
            peak_bytes=max((answers[i]["peak_bytes"] for answers in kept), default=0),
        )
        for i in range(len(candidates))
    ]


def quiet_rounds(launches: Sequence[Sequence[Round]]) -> list[list[Round]]:
    """The rounds that count: of each launch equally many that nobody disturbed, where that leaves `LEAST_QUIET` of
    them; else all, also where nobody knows.

    What is left out is chosen by how long threads waited, and not by what was measured, so that it favours nobody. A
    disturbed round that stays does: it makes a model against itself look faster, or slower, more often than promised.
    """
    fewest = min((sum(disturbed is False for _, disturbed in launch) for launch in launches), default=0)
    if fewest < LEAST_QUIET * max(map(len, launches), default=0):
        return [list(launch) for launch in launches]
    return [[one for one in launch if one[1] is False][:fewest] for launch in launches]


class _Patience:
    """How much longer disturbed rounds may be taken again: the seconds that a measurement has for that are shared among
    its launches, so that the first does not use them up."""

    def __init__(self, measurement: Measurement) -> None:
        self._per_launch = measurement.retry_seconds / measurement.launches
        self._left = 0.0

    def begin_launch(self) -> None:
        """What the launches before have left, too."""
        self._left += self._per_launch

    def spend(self, seconds: float) -> bool:
        """Whether a round that took so long may be thrown away."""
        if seconds > self._left:
            return False
        self._left -= seconds
        return True


def _rounds(
    workers: Mapping[int, Worker],
    commands: Sequence[Mapping[str, Any]],
    count: int,
    watch: Bystanders,
    patience: _Patience,
    bar: Any,
) -> list[Round]:
    """So many rounds of one launch, each with the answer of every worker."""
    kept: list[Round] = []
    processes = [worker.pid for worker in workers.values()]
    while len(kept) < count:
        began, answers = time.monotonic(), {}
        for i in range(len(workers))[:: 1 if len(kept) % 2 == 0 else -1]:
            answers[i] = workers[i].ask(dict(commands[i]))
            workers[i].wait_until_asleep()
        disturbed = watch.disturb([_waits(answer) for answer in answers.values()], processes)
        if disturbed and patience.spend(time.monotonic() - began):
            watch.repeated_rounds += 1
            bar.set_description("latency, once more where others disturbed it")
            continue
        kept.append((answers, disturbed))
        bar.set_description("latency")
        bar.update()
    return kept


def _waits(answer: Answer) -> Waits | None:
    """How long the threads of a worker waited in a turn, as it says; None where it does not."""
    told = answer.get("waits")
    return None if told is None else Waits(*told)
