"""What the interval of each metric is worth: known truths, drawn many times, judged as a gate judges them.

python -m benchmarks.intervals [--trials 600]

For each metric and way of drawing examples: how often a model that is exactly at the margin passes, which should be at
most 5% at confidence 0.95; how often an equal one passes and one that is two points worse does; and how often as many
examples as `examples_to_decide` names for an equal model decide for it, which should be at least 80%. Writes
benchmarks/results/intervals.json.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import simulated_facts
from compress.core.metric import Metric
from compress.measure.statistics import estimate, examples_to_decide
from compress.tasks.metrics.accuracy import Accuracy
from compress.tasks.metrics.entity_f1 import EntityF1
from compress.tasks.metrics.log_likelihood import LogLikelihood
from compress.tasks.metrics.macro_f1 import MacroF1
from compress.tasks.metrics.ndcg import Ndcg
from compress.tasks.metrics.spearman import Spearman

RESULTS = Path(__file__).parent / "results" / "intervals.json"
CONFIDENCE = 0.95
# What a model two points worse loses; the one at the margin loses half of it.
WORSE = 0.02
# Truths are computed on so many examples of the same kind.
MANY = 200_000
SEED = 13
# The shape of the gamma distribution that groups' probabilities come from: their standard deviation is 0.7 of the mean.
EVENNESS = 2.0
# Of the teacher's answers, those that the candidate gives anew.
CHANGED = 0.08

# From groups' numbers, the generator and how much the candidate loses, from 0 up, the two models' statistics.
Draw = Callable[[np.ndarray, np.random.Generator, float], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Layout:
    """examples: of one sample, in groups of `together` whose losses are alike."""

    name: str
    examples: int
    together: int

    def groups(self, examples: int) -> np.ndarray:
        """For each of so many examples its group's number."""
        return np.arange(examples) // self.together


@dataclass(frozen=True)
class Case:
    """A metric and examples to judge it on."""

    metric: Metric
    draw: Draw
    layout: Layout


ALONE = Layout("alone", 1000, 1)
GROUPED = Layout("groups of 10", 1000, 10)
FEW = Layout("8 groups", 400, 50)


def shares(groups: np.ndarray, generator: np.random.Generator, mean: float) -> np.ndarray:
    """For each example a probability of this mean, the same in one group. A group's is often half or twice the mean: it
    follows a gamma distribution."""
    found = generator.gamma(EVENNESS, max(mean, 1e-12) / EVENNESS, int(groups.max()) + 1)
    return np.minimum(found, 1.0)[groups]


def draw_accuracy(groups: np.ndarray, generator: np.random.Generator, loss: float) -> tuple[np.ndarray, np.ndarray]:
    """Both are right nine times of ten, and agree on most; of the candidate's right answers it loses `loss`."""
    chance, count = shares(groups, generator, 0.9), len(groups)
    before, again = generator.random((2, count)) < chance
    changed = generator.random(count) < shares(groups, generator, CHANGED)
    lost = generator.random(count) < shares(groups, generator, loss)
    return with_ones(before), with_ones(np.where(changed, again, before) & ~lost)


def draw_macro(groups: np.ndarray, generator: np.random.Generator, loss: float) -> tuple[np.ndarray, np.ndarray]:
    """Five classes, of which the rarest has 2% of the examples. Wrong answers name any of them."""
    count = len(groups)
    label = generator.choice(5, count, p=[0.4, 0.3, 0.2, 0.08, 0.02])
    before, again = np.where(generator.random((2, count)) < 0.9, label, generator.integers(0, 5, (2, count)))
    changed = generator.random(count) < shares(groups, generator, CHANGED)
    lost = generator.random(count) < shares(groups, generator, loss)
    after = np.where(lost, generator.integers(0, 5, count), np.where(changed, again, before))
    return np.stack([label, before], axis=1).astype(float), np.stack([label, after], axis=1).astype(float)


def entities_drawn(rate: float) -> Draw:
    """rate: entities per example, on average."""

    def draw(groups: np.ndarray, generator: np.random.Generator, loss: float) -> tuple[np.ndarray, np.ndarray]:
        count = len(groups)
        actual = generator.poisson(rate, count)
        found = generator.binomial(actual, 0.9)
        changed = shares(groups, generator, CHANGED)
        again = generator.binomial(found, changed), generator.binomial(actual - found, changed)
        after = found - again[0] + generator.binomial(sum(again), 0.9)
        wrong, one, other = generator.poisson(np.array([[0.06], [0.02], [0.02]]) * rate, (3, count))
        after = generator.binomial(after, 1 - shares(groups, generator, loss))
        before = np.stack([found, found + wrong + one, actual], axis=1)
        return before.astype(float), np.stack([after, after + wrong + other, actual], axis=1).astype(float)

    return draw


def draw_spearman(groups: np.ndarray, generator: np.random.Generator, loss: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores are the truth and noise, of which the two models share most; the candidate's own grows with the loss."""
    truth, shared, one, other = generator.normal(size=(4, len(groups)))
    before = truth + 0.5 * shared + 0.15 * one
    after = truth + 0.5 * shared + (0.15 + 20 * shares(groups, generator, loss)) * other
    return np.stack([truth, before], axis=1), np.stack([truth, after], axis=1)


def draw_ndcg(groups: np.ndarray, generator: np.random.Generator, loss: float) -> tuple[np.ndarray, np.ndarray]:
    """One relevant document a query: its rank decides. A lost one falls by some ranks."""
    count = len(groups)
    rank, again = generator.geometric(0.6, (2, count))
    changed = generator.random(count) < shares(groups, generator, CHANGED)
    lost = generator.random(count) < shares(groups, generator, loss)
    after = np.where(changed, again, rank) + lost * generator.geometric(0.3, count)
    gains = [np.where(place <= 10, 1 / np.log2(1 + place), 0.0) for place in (rank, after)]
    return with_ones(gains[0]), with_ones(gains[1])


def draw_likelihood(groups: np.ndarray, generator: np.random.Generator, loss: float) -> tuple[np.ndarray, np.ndarray]:
    """Documents of 20 to 2,000 tokens at about three nats; the differences have heavy tails, alike in a group."""
    count = len(groups)
    tokens = np.round(np.clip(generator.lognormal(5, 1, count), 20, 2000))
    before = tokens * generator.normal(-3.0, 0.5, count)
    shared = generator.standard_t(4, int(groups.max()) + 1)[groups]
    change = 0.02 * shared + 0.05 * generator.standard_t(4, count) - loss
    return np.stack([before, tokens], axis=1), np.stack([before + tokens * change, tokens], axis=1)


def with_ones(values: np.ndarray) -> np.ndarray:
    """The statistics of a plain mean."""
    return np.stack([values.astype(float), np.ones(len(values))], axis=1)


DRAWS: tuple[tuple[Metric, Draw, str], ...] = (
    (Accuracy(), draw_accuracy, ""),
    (MacroF1(), draw_macro, "a class of 2%"),
    (EntityF1(), entities_drawn(1.5), ""),
    (EntityF1(), entities_drawn(0.05), "rare entities"),
    (Spearman(), draw_spearman, ""),
    (Ndcg(), draw_ndcg, ""),
    (LogLikelihood(), draw_likelihood, ""),
)


def cases() -> Iterator[tuple[str, Case]]:
    """Every metric on every layout, with a name."""
    for metric, draw, kind in DRAWS:
        for layout in (ALONE, GROUPED, FEW):
            yield ", ".join(filter(None, (metric.name, kind, layout.name))), Case(metric, draw, layout)


def main() -> int:
    """Print a line for each case and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    began = time.monotonic()
    rows = []
    print(f"{'case':44} {'margin':>8} {'at margin':>9} {'equal':>7} {'worse':>7} {'needed':>8} {'power':>7}")
    for number, (name, case) in enumerate(cases()):
        row = {"case": name, **judged(case, arguments.trials, SEED + number)}
        rows.append(row)
        print(
            f"{name:44} {row['margin']:8.4f} {row['passed_at_margin']:9.1%} {row['passed_equal']:7.1%} "
            f"{row['passed_worse']:7.1%} {row['examples_to_decide'] or '-':>8} "
            f"{'-' if row['power'] is None else format(row['power'], '.1%'):>7}",
            flush=True,
        )
    facts = {
        **simulated_facts("intervals", SEED, trials=arguments.trials, confidence=CONFIDENCE),
        "seconds": round(time.monotonic() - began, 1),
        "rows": rows,
    }
    arguments.output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


def judged(case: Case, trials: int, seed: int) -> Mapping[str, Any]:
    """How often each of three models passes at a margin that the second lies exactly at, and the power."""
    generator = np.random.default_rng(seed)
    worse = fitted(case, seed)
    margin, twice = -truth(case, worse / 2, seed), -truth(case, worse, seed)
    layout = case.layout
    passed = {
        name: share_passed(case, loss, margin, layout.examples, trials, generator)
        for name, loss in (("equal", 0.0), ("at_margin", worse / 2), ("worse", worse))
    }
    needed, power = promised(case, margin, trials, generator)
    return {
        "metric": case.metric.name,
        "layout": layout.name,
        "examples": layout.examples,
        "margin": margin,
        "differences": {"equal": 0.0, "at_margin": -margin, "worse": -twice},
        **{f"passed_{name}": share for name, share in passed.items()},
        "examples_to_decide": needed,
        "power": power,
    }


def truth(case: Case, loss: float, seed: int, examples: int = MANY) -> float:
    """The difference of values over very many examples, in small groups: it does not depend on how large they are.

    Less what the same draws give without a loss, where the models are alike and the truth is 0: chance that both share
    cancels out.
    """
    groups = np.arange(examples) // min(case.layout.together, 10)
    alike = case.draw(groups, np.random.default_rng(seed), 0.0)
    before, after = case.draw(groups, np.random.default_rng(seed), loss)
    value = case.metric.value
    return value(after) - value(before) - value(alike[1]) + value(alike[0])


def fitted(case: Case, seed: int, examples: int = MANY) -> float:
    """The loss at which the candidate is WORSE, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (low, middle) if truth(case, middle, seed, examples) < -WORSE else (middle, high)
    return high


def share_passed(
    case: Case, loss: float, margin: float, examples: int, trials: int, generator: np.random.Generator
) -> float:
    """Of so many samples, the share whose interval lies above -margin."""
    groups = case.layout.groups(examples)
    passed = 0
    for _ in range(trials):
        found = estimate(*case.draw(groups, generator, loss), groups.tolist(), case.metric)
        passed += found.interval(CONFIDENCE)[0] > -margin
    return passed / trials


def promised(case: Case, margin: float, trials: int, generator: np.random.Generator) -> tuple[int | None, float | None]:
    """How many examples are named for an equal model, the median over samples, and how often so many let it pass; None
    where most samples say that no number does that one would label."""
    groups, named = case.layout.groups(case.layout.examples), []
    for _ in range(trials // 5):
        found = estimate(*case.draw(groups, generator, 0.0), groups.tolist(), case.metric)
        # The difference is the truth's, not the sample's: tested is whether the number is enough where it is right.
        told = examples_to_decide(0.0, found.interval(CONFIDENCE), margin, len(groups), CONFIDENCE)
        named.append(math.inf if told is None else told)
    middle = float(np.median(named))
    if math.isinf(middle):
        return None, None
    needed = max(2, math.ceil(middle / case.layout.together)) * case.layout.together
    return needed, share_passed(case, 0.0, margin, needed, trials // 2, generator)


if __name__ == "__main__":
    sys.exit(main())
