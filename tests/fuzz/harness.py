"""What every test of damaged files does: how many are tried, how long each may take, and what may be raised."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from compress.core.errors import CompressError

from .mutations import mutated

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))
LONGEST_S, LONGEST_WAIT_S = 10, 60
COUNTED: dict[str, Counter[str]] = {}
# Of the processor's time, by kind.
SECONDS: dict[str, float] = {}

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES <= 20,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
draws = st.randoms(use_true_random=False)


@contextmanager
def counted(kind: str) -> Iterator[None]:
    """The block must end in time, and raise nothing but an error of ours: that is raised on as RefusedError."""
    counts, begun = _counts(kind), time.process_time()
    counts["tried"] += 1
    try:
        with in_time():
            yield
    except CompressError as error:
        counts["refused"] += 1
        raise RefusedError(str(error)) from None
    except HangsError:
        counts["hung"] += 1
        raise
    except BaseException:
        counts["foreign"] += 1
        raise
    finally:
        SECONDS[kind] = SECONDS.get(kind, 0.0) + time.process_time() - begun


@contextmanager
def as_before(kind: str) -> Iterator[None]:
    """The block asserts that what was loaded is what the whole one is."""
    try:
        yield
    except AssertionError:
        _counts(kind)["wrong"] += 1
        raise


def _counts(kind: str) -> Counter[str]:
    return COUNTED.setdefault(kind, Counter(tried=0, refused=0, wrong=0, hung=0, foreign=0))


class RefusedError(Exception):
    """An error of ours."""


class HangsError(BaseException):
    """No error of ours, and none that a program catches."""


@contextmanager
def in_time() -> Iterator[None]:
    """Raise where the block takes longer than `LONGEST_S` of the processor's time, or waits for `LONGEST_WAIT_S` rings,
    one a second: on a busy machine little is done in a second, and a process that is stopped hears one ring, however
    long that was. Also where the block caught what told it so."""
    begun, rings, hangs = time.process_time(), 0, False

    def ring(number: int, frame: Any) -> None:
        nonlocal rings, hangs
        rings += 1
        if time.process_time() - begun >= LONGEST_S or rings == LONGEST_WAIT_S:
            hangs = True
            raise HangsError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if hangs:
            raise HangsError


def damaged(whole: Path, draw: Any, place: Path, mutate: Callable[..., bytes] = mutated) -> Path:
    """A copy of a folder with one of its files changed. mutate: by this."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)
    path = draw.choice(sorted(path for path in place.rglob("*") if path.is_file()))
    path.write_bytes(mutate(path.read_bytes(), draw, text=path.suffix in (".json", ".jsonl")))
    return place
