"""What a cache of a given size would bring, from the user's own sample: so that nobody turns it on for nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from compress.deploy.cache import AnswerCache

# 100 kB to 100 MB.
SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)
REPEATS = 200


@dataclass(frozen=True)
class Costs:
    """Microseconds of a call with one example: found as it was written; read, and then found; computed."""

    found: float
    read: float
    computed: float


@dataclass(frozen=True)
class Forecast:
    """most_bytes: of the cache. hit_rate: the share of the sample that is found. mean_us: microseconds of a call with
    one example."""

    most_bytes: int
    hit_rate: float
    mean_us: float


@dataclass(frozen=True)
class Asked:
    """One example of the sample: its key as it is written and as it is read, each with its size in bytes."""

    written: tuple[Hashable, int]
    read: tuple[Hashable, int]


def forecast(asked: Sequence[Asked], answer_bytes: int, costs: Costs, most_bytes: int) -> Forecast:
    """The sample, in its order, through a cache that begins empty."""
    cache = AnswerCache(most_bytes)
    spent, found = 0.0, 0
    for one in asked:
        if cache.find(one.written[0]) is not None:
            spent, found = spent + costs.found, found + 1
            continue
        if cache.find(one.read[0]) is not None:
            spent, found = spent + costs.read, found + 1
        else:
            spent += costs.computed
            cache.keep(*one.read, True, answer_bytes)
        cache.keep(*one.written, True, answer_bytes)
    return Forecast(most_bytes, found / len(asked), spent / len(asked))


def microseconds(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """The median of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000
