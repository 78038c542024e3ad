"""The whole of tuning: what batches do to answers, setting after setting, the choice against the default, the cache."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from compress.core.errors import InputError
from compress.core.evaluation import BUSY, BatchEffect
from compress.core.recipe import Measurement
from compress.deploy.answers import bytes_of
from compress.deploy.export import Export, read_export
from compress.deploy.predictor import BATCH_SIZE, Predictor, holds
from compress.deploy.settings import Batching, Settings
from compress.deploy.tuned import Tuned, write_tuned
from compress.deploy.tuning.aim import CONFIDENCE, Aim, Compared, Measured, compare
from compress.deploy.tuning.coordinates import coordinates
from compress.deploy.tuning.effect import measure_effect
from compress.deploy.tuning.forecast import SIZES, Asked, Costs, Forecast, forecast, microseconds
from compress.deploy.tuning.sample import Example
from compress.deploy.tuning.search import HEADROOM, Step, search
from compress.deploy.tuning.trial import Trial, write_calls
from compress.measure.bystanders import Bystanders, disturbance
from compress.measure.environment import allowed_cpus, describe_processor, versions
from compress.measure.latency import measure_each_in_turns, representative

SEARCH = Measurement(examples=64, launches=4, rounds=3, warmup=2)
# What is claimed comes of this one: rounds that others disturb are taken again for as long as a run's would be.
CONFIRMATION = Measurement(examples=64, launches=6, rounds=4, warmup=2, retry_seconds=60)
# A turn of one candidate should not take longer: there are about 20 candidates, of 12 turns each.
TURN_MS = 150.0
FEWEST, EFFECT_EXAMPLES, EFFECT_MS = 8, 128, 10_000.0
SEED, AT_ONCE = 0, 256


@dataclass(frozen=True)
class Outcome:
    """confirmed: the choice against the default in an A/B run of new processes, None where nothing was found to be
    better; after it, `default` is what that run measured. reason: why the choice stands, in a sentence. foreign: what
    other processes took meanwhile, in a sentence, or None. busy: whether others disturbed the A/B run, so that it
    shows nothing; None where nobody knows. per_call: examples of a call where it is not one."""

    export: Export
    aim: Aim
    examples: int
    start: Settings
    settings: Settings
    default: Measured
    chosen: Measured
    steps: tuple[Step, ...]
    confirmed: Compared | None
    reason: str
    effect: BatchEffect
    batches_asked: bool
    costs: Costs
    forecasts: tuple[Forecast, ...]
    foreign: str | None
    busy: bool | None = None


def tune(folder: Path, sample: Sequence[Example], aim: Aim, *, batches: bool) -> Outcome:
    """Find out, and write `runtime.json` beside the model. batches: whether they are tried where they change answers.

    Raises InputError where the folder is no export, or where no setting reaches the aim: then nothing is written.
    """
    export = read_export(folder)
    # Not what an earlier tuning found: that is what is compared with.
    start = Predictor.usual(export)
    start = Settings(session=start.session, batching=Batching(batch_size=1, padding=start.batching.padding))
    alone = Predictor(folder, settings=start)
    pace = _pace(alone, sample)
    effect = _effect(alone, sample, pace)
    together = batches or holds(effect)
    lengths, asked = _read(alone, sample)
    chosen = _chosen(sample, lengths, pace)
    bystanders, confirming = Bystanders(allowed_cpus()), Bystanders(allowed_cpus())
    with tempfile.TemporaryDirectory() as temporary:
        timer = _Timer(folder, chosen, aim, Path(temporary), {SEARCH: bystanders, CONFIRMATION: confirming})
        # For the least time of one example, how many are computed together is no question.
        largest = min(BATCH_SIZE, len(chosen)) if together and aim.slo_ms is not None else 1
        steps, found = _searched(start, aim, timer, largest_batch=largest)
        default, taken, confirmed, reason = _confirmed(steps, start, found, aim, timer)
    if not aim.met_by(taken):
        raise InputError(_unreached(aim, steps, taken))
    settings = _with_batches(taken.settings, aim, together=holds(effect))
    costs, forecasts = _cache(folder, settings, sample, asked)
    outcome = Outcome(
        export=export,
        aim=aim,
        examples=len(chosen),
        start=start,
        settings=settings,
        default=default,
        chosen=taken,
        steps=tuple(steps),
        confirmed=confirmed,
        reason=reason,
        effect=effect,
        batches_asked=batches,
        costs=costs,
        forecasts=forecasts,
        foreign=disturbance(bystanders.share, len(allowed_cpus()), "the settings were timed"),
        busy=confirming.disturbed,
    )
    write_tuned(export, Tuned(settings=settings, batch_effect=effect, record=record_of(outcome)))
    return outcome


def record_of(outcome: Outcome) -> dict[str, Any]:
    """What `runtime.json` keeps of how it was found."""
    confirmed, chosen = outcome.confirmed, outcome.chosen
    return {
        "aim": {**asdict(outcome.aim), "words": str(outcome.aim)},
        "examples": outcome.examples,
        "examples_per_second": chosen.throughput,
        "latency_ms": {
            "p50": chosen.latency_ms(0.5),
            "quantile": chosen.latency_ms(outcome.aim.quantile),
        },
        "default_examples_per_second": outcome.default.throughput,
        "against_default": None
        if confirmed is None
        else {"ratio": confirmed.ratio, "interval": list(confirmed.interval), "disturbed": outcome.busy},
        "reason": outcome.reason,
        "batches_that_change_answers_asked_for": outcome.batches_asked and not holds(outcome.effect),
        "machine": {**describe_processor(), "processors": len(allowed_cpus())},
        "versions": versions(("compress", "numpy", "tokenizers", outcome.export.runtime)),
        "disturbed": outcome.foreign or (BUSY if outcome.busy else None),
    }


class _Timer:
    """Times settings in turns, each in a process of its own."""

    def __init__(
        self,
        folder: Path,
        examples: Sequence[Example],
        aim: Aim,
        temporary: Path,
        bystanders: Mapping[Measurement, Bystanders],
    ) -> None:
        self._folder, self._examples, self._aim = folder, examples, aim
        self._temporary, self._bystanders = temporary, bystanders

    def __call__(self, settings: Sequence[Settings], measurement: Measurement = SEARCH) -> list[Measured]:
        files, counts = [], []
        for one in settings:
            size = one.batching.batch_size
            path = self._temporary / f"calls-{size}.npz"
            counts.append(write_calls(self._examples, size, path))
            files.append(path)
        trials = [Trial.of(one, self._folder) for one in settings]
        found = measure_each_in_turns(
            trials, files, [range(n) for n in counts], measurement, self._bystanders[measurement]
        )
        return [
            Measured(settings=one, rounds=rounds, launches=measurement.launches, examples=len(self._examples))
            for one, rounds in zip(settings, found, strict=True)
        ]


def _searched(start: Settings, aim: Aim, timer: _Timer, *, largest_batch: int) -> tuple[list[Step], Settings]:
    tried = coordinates(processors=len(allowed_cpus()), largest_batch=largest_batch)
    with _progress(len(tried) + 1) as begin:
        steps = search(start, tried, aim, timer, begin)
    return steps, steps[-1].taken.settings if steps else start


def _confirmed(
    steps: Sequence[Step], start: Settings, found: Settings, aim: Aim, timer: _Timer
) -> tuple[Measured, Measured, Compared | None, str]:
    """The default and what stands, as measured; the A/B run, where there was one; and why."""
    if found == start:
        (default,) = timer([start], CONFIRMATION)
        return default, default, None, "no setting was shown to be better than the default, which stays"
    default, chosen = timer([start, found], CONFIRMATION)
    result = compare(default, chosen, CONFIDENCE)
    if not aim.met_by(chosen) and aim.met_by(default):
        return default, default, result, "the A/B run did not keep the latency with what was found; the default stays"
    if aim.met_by(default) and result.interval[0] <= 1:
        return default, default, result, "the A/B run did not show what was found to be better; the default stays"
    if not aim.met_by(default):
        return default, chosen, result, "the default misses the latency"
    return default, chosen, result, "an A/B run in new processes shows it to be better than the default"


def _unreached(aim: Aim, steps: Sequence[Step], taken: Measured) -> str:
    every = [taken, *(one.measured for step in steps for one in step.compared), *(step.before for step in steps)]
    nearest = min(every, key=lambda one: one.latency_ms(aim.quantile))
    session, batching = nearest.settings.session, nearest.settings.batching
    return (
        f"--slo-ms is {aim.slo_ms:g}, and no setting answers {aim.quantile:.0%} of calls within it. The nearest: "
        f"{nearest.latency_ms(aim.quantile):.3g} ms, with threads {session.threads} and {batching.batch_size} example"
        f"{'' if batching.batch_size == 1 else 's'} a call. Ask for --slo-ms "
        f"{nearest.latency_ms(aim.quantile) / HEADROOM * 1.05:.2g}, or compress the model further."
    )


def _with_batches(settings: Settings, aim: Aim, *, together: bool) -> Settings:
    """For the least time of one example nobody timed batches: what is asked for together is computed so where they
    hold, as without tuning."""
    if aim.slo_ms is not None or not together:
        return settings
    return replace(settings, batching=replace(settings.batching, batch_size=BATCH_SIZE))


def _pace(alone: Predictor, sample: Sequence[Example]) -> float:
    """Milliseconds of an example of middling length, about."""
    examples = [sample[i] for i in np.linspace(0, len(sample) - 1, min(FEWEST, len(sample))).astype(int)]
    alone(examples)
    return microseconds(lambda: alone(examples), 3) / 1000 / len(examples)


def _effect(alone: Predictor, sample: Sequence[Example], pace: float) -> BatchEffect:
    count = min(len(sample), EFFECT_EXAMPLES, max(BATCH_SIZE, int(EFFECT_MS / (4 * pace))))
    drawn = np.random.default_rng(SEED).permutation(len(sample))[:count]
    settings = alone.settings
    joint = Settings(session=settings.session, batching=Batching(batch_size=BATCH_SIZE, padding="longest"))
    together = Predictor(alone.export.folder, settings=joint)
    return measure_effect(alone, together, [sample[i] for i in drawn], BATCH_SIZE)


def _read(alone: Predictor, sample: Sequence[Example]) -> tuple[list[int], list[Asked]]:
    """Of each example its length and its keys. Read in parts: images take much memory, and only keys are kept."""
    lengths, asked = [], []
    for start in range(0, len(sample), AT_ONCE):
        part = sample[start : start + AT_ONCE]
        for example, reading in zip(part, alone.read(part), strict=True):
            lengths.append(sum(reading.lengths))
            asked.append(Asked(alone.key(example), (reading.key, reading.key_bytes)))
    return lengths, asked


def _chosen(sample: Sequence[Example], lengths: Sequence[int], pace: float) -> list[Example]:
    """Of evenly spread lengths, in an order in which short and long ones stand beside each other; a power of two, so
    that they make calls of equal size."""
    most = max(FEWEST, min(SEARCH.examples, int(TURN_MS / pace)))
    count = 1 << (min(most, len(sample)).bit_length() - 1)
    places = representative(lengths, count)
    return [sample[places[i]] for i in np.random.default_rng(SEED).permutation(len(places))]


def _cache(
    folder: Path, settings: Settings, sample: Sequence[Example], asked: Sequence[Asked]
) -> tuple[Costs, tuple[Forecast, ...]]:
    """What a cache would bring, with the costs as they are here and now."""
    plain, kept = Predictor(folder, settings=settings), Predictor(folder, settings=settings, cache_bytes=SIZES[-1])
    shown = [sample[i] for i in np.linspace(0, len(sample) - 1, min(32, len(sample))).astype(int)]
    (answer,) = kept(shown[:1])
    computed = float(np.mean([microseconds(partial(plain, [one]), 5) for one in shown]))
    found = microseconds(lambda: kept(shown[:1]))
    read = float(np.mean([microseconds(partial(plain.read, [one]), 5) for one in shown]))
    costs = Costs(found=found, read=found + read, computed=computed)
    return costs, tuple(forecast(asked, bytes_of(answer), costs, size) for size in SIZES)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    with tqdm(total=total, desc="tuning", unit="setting", leave=False) as bar:

        def begin(name: str) -> None:
            bar.set_description(f"tuning: {name}")
            bar.update()

        yield begin
