"""What texts without labels are worth to a gate, and that they prove nothing false: known truths, drawn many times.

python -m benchmarks.prediction_powered [--trials 100]

Simulated: teachers whose probabilities are right, too sure, and meaningless; examples alone, in groups, in few groups,
and few. For each, how often a model that is exactly at the margin passes, which should be at most 5% at confidence
0.95, by the labels alone and with the texts; how often an equal one passes; and how many labels the texts make of each.
Then texts that are unlike the labelled examples: how often that is seen, and how often a model at the margin passes in
the end. Writes benchmarks/results/prediction_powered.json, and keeps what `prediction_powered_real` has found there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.intervals import shares
from benchmarks.record import simulated_facts
from compress.core.evaluation import PredictionPowered
from compress.measure.spare_text import SpareRows, SpareText, with_spare_text
from compress.measure.statistics import estimate
from compress.tasks.metrics.accuracy import Accuracy

RESULTS = Path(__file__).parent / "results" / "prediction_powered.json"
CONFIDENCE, MARGIN, SEED, CLASSES = 0.95, 0.01, 17, 4
# Truths are computed on so many examples of the same kind.
MANY = 100_000
# Texts without labels for each labelled example.
TEXTS = 5

Teacher = Literal["calibrated", "too sure", "meaningless"]


@dataclass(frozen=True)
class Case:
    """teacher: what its probabilities are worth. examples: labelled ones, in groups of `together`. shift: by how much
    texts are harder than the labelled examples, as a factor of what tells classes apart; 1 for not at all."""

    teacher: Teacher
    name: str
    examples: int
    together: int
    shift: float = 1.0


@dataclass(frozen=True)
class Drawn:
    """labels: (rows,). teacher, student: logits, (rows, classes). truth: the mean difference of their accuracies."""

    labels: np.ndarray
    teacher: np.ndarray
    student: np.ndarray
    truth: float


def draw(case: Case, groups: np.ndarray, generator: np.random.Generator, loss: float, ease: float = 1.0) -> Drawn:
    """What speaks for each class is seen by both models with an error of its own; labels follow from it by chance.

    loss: the share of the student's answers that are replaced by any. ease: what tells classes apart is so many times
    as large. In one group examples are alike easy, and the student alike bad.
    """
    count = len(groups)
    speaks = generator.normal(0, 0.5, (count, CLASSES))
    easier = ease * generator.gamma(4.0, 0.25, int(groups.max()) + 1)[groups]
    speaks[np.arange(count), generator.integers(0, CLASSES, count)] += easier * generator.gamma(3.0, 1.8, count)
    chances = np.exp(speaks - speaks.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < generator.random((count, 1))).sum(axis=1)
    teacher, student = (speaks + generator.normal(0, 0.45, (count, CLASSES)) for _ in range(2))
    lost = generator.random(count) < shares(groups, generator, loss)
    student = np.where(lost[:, None], generator.normal(0, 1, (count, CLASSES)), student)
    if case.teacher == "too sure":
        teacher = 4 * teacher
    if case.teacher == "meaningless":
        # Its answers stay, and say nothing of how sure they are.
        teacher = teacher * generator.lognormal(0, 2, (count, 1))
    rows = np.arange(count)
    found = chances[rows, student.argmax(axis=1)] - chances[rows, teacher.argmax(axis=1)]
    return Drawn(labels, teacher, student, float(found.mean()))


@cache
def at_margin(together: int, seed: int = SEED) -> tuple[float, float]:
    """The loss at which the student is MARGIN worse than without any, by bisection, and the difference that it has
    without. They do not depend on how sure teachers say they are, nor on how large groups are."""
    case, groups = Case("calibrated", "", MANY, together), np.arange(MANY) // min(together, 10)

    def truth(loss: float) -> float:
        return draw(case, groups, np.random.default_rng(seed), loss).truth

    alike, low, high = truth(0.0), 0.0, 0.2
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if truth(middle) - alike < -MARGIN else (middle, high)
    return high, alike


def judged(case: Case, generator: np.random.Generator, loss: float) -> tuple[float, float, PredictionPowered]:
    """The lower bounds by the labels alone and as a gate has it, and what the texts did, of one sample."""
    groups = np.arange(case.examples) // case.together
    others = groups.max() + 1 + np.arange(TEXTS * case.examples) // case.together
    ours = draw(case, groups, generator, loss)
    texts = draw(case, others - others.min(), generator, loss, case.shift)
    before, after = (
        np.stack([logits.argmax(axis=1) == ours.labels, np.ones(case.examples)], axis=1).astype(float)
        for logits in (ours.teacher, ours.student)
    )
    alone = estimate(before, after, groups.tolist(), Accuracy())
    rows = SpareRows(
        usable=[True] * case.examples,
        groups=others.tolist(),
        lengths=[0] * case.examples,
        text_lengths=[0] * len(others),
        unit="tokens",
    )
    spare = SpareText(
        rows=rows,
        labels=ours.labels.tolist(),
        names=[str(number) for number in range(CLASSES)],
        teacher=ours.teacher,
        student=ours.student,
        teacher_texts=texts.teacher,
        student_texts=texts.student,
    )
    found, told = with_spare_text(alone, after[:, 0] - before[:, 0], groups.tolist(), spare, CONFIDENCE)
    return alone.interval(CONFIDENCE)[0], found.interval(CONFIDENCE)[0], told


def share(case: Case, loss: float, trials: int, generator: np.random.Generator, truth: float) -> dict[str, Any]:
    """Of so many samples, how many pass. truth: what the difference is without a loss, which the margin is set from."""
    alone = passed = refused = 0
    weights, gains = [], []
    for _ in range(trials):
        low, lower, told = judged(case, generator, loss)
        alone += low > truth - MARGIN
        passed += lower > truth - MARGIN
        refused += told.refused is not None
        if told.worth is not None:
            weights.append(told.weight)
            gains.append(told.worth / told.labels)
    return {
        "alone": alone / trials,
        "passed": passed / trials,
        "refused": refused / trials,
        "weight": float(np.median(weights)) if weights else None,
        "worth": float(np.median(gains)) if gains else None,
    }


LAYOUTS = (("alone", 1000, 1), ("groups of 10", 1000, 10), ("8 groups", 400, 50), ("few", 200, 1))
SHIFTS = (1.0, 0.975, 0.95, 0.9, 0.8)


def cases() -> Iterator[Case]:
    """Every teacher on every layout."""
    teachers: tuple[Teacher, ...] = ("calibrated", "too sure", "meaningless")
    for teacher in teachers:
        for name, examples, together in LAYOUTS:
            yield Case(teacher, name, examples, together)


def main() -> int:
    """Print a line for each case and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    began = time.process_time()
    rows = [row_of(case, arguments.trials, SEED + number) for number, case in enumerate(cases())]
    shifted = []
    for number, shift in enumerate(SHIFTS):
        case = replace(Case("calibrated", "alone", 1000, 1), shift=shift)
        shifted.append({"shift": shift, **row_of(case, arguments.trials, SEED + 100 + number)})
    before = json.loads(arguments.output.read_text("utf-8")) if arguments.output.exists() else {}
    facts = {
        **simulated_facts("prediction_powered", SEED, trials=arguments.trials, confidence=CONFIDENCE, margin=MARGIN),
        "texts_per_label": TEXTS,
        "processor_seconds": round(time.process_time() - began, 1),
        "rows": rows,
        "shifted": shifted,
        "real": before.get("real"),
    }
    arguments.output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


def row_of(case: Case, trials: int, seed: int) -> Mapping[str, Any]:
    """One line of the results."""
    generator = np.random.default_rng(seed)
    # The margin is set from what an equal model has, so that all are judged at the same distance.
    loss, truth = at_margin(case.together)
    at, equal = share(case, loss, trials, generator, truth), share(case, 0.0, trials, generator, truth)
    row = {
        "teacher": case.teacher,
        "layout": case.name,
        "examples": case.examples,
        "passed_at_margin": {"alone": at["alone"], "with_texts": at["passed"]},
        "passed_equal": {"alone": equal["alone"], "with_texts": equal["passed"]},
        "refused": (at["refused"] + equal["refused"]) / 2,
        "weight": equal["weight"],
        "worth": equal["worth"],
        "worth_at_margin": at["worth"],
    }
    print(json.dumps({"shift": case.shift, **row}), flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
