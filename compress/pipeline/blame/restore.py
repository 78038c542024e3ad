"""Putting parts of a stage's result back to what they were, one at a time, and looking at what that repairs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.blame import Restored
from compress.core.task import Task
from compress.methods.training.sensitivity import Batch, Shift, products_of, shift_of
from compress.nn.exchange import Part, joined, parts_from

# What ranking the parts may take of the time; the rest is for trying the worst of them together.
RANKING = 0.7
# Products are counted on so many examples: only their proportions matter.
COUNTED = 8
# How many parts are tried together.
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)


@dataclass(frozen=True)
class Restoration:
    """restored, examples, divergence_before, divergence: as in Blame. worst: paths of the modules that are best put
    back together, recovered: the share of the divergence that this takes away on the sample, worst_share: theirs of the
    multiply-adds of all modules that the stage changed. why_not: in words, where nothing was measured."""

    restored: tuple[Restored, ...] = ()
    examples: int = 0
    divergence_before: float | None = None
    divergence: float | None = None
    worst: tuple[str, ...] = ()
    worst_share: float = 0.0
    recovered: float | None = None
    why_not: str = ""


def restore(
    before: PreTrainedModel,
    after: PreTrainedModel,
    *,
    task: Task,
    rows: Sequence[Mapping[str, Any]],
    batches: Sequence[Batch],
    reference: Sequence[Tensor],
    seconds: float,
    config: Any,
    together: Sequence[Collection[str]] = (),
) -> Restoration:
    """Measure what of `after` did the harm, by taking parts of it from `before`, the model it was made of.

    rows, batches: examples, one to a batch, as both models read them. reference: the teacher's logits for each. config:
    the teacher's. Takes
    about `seconds`. together: paths of modules that can only be put back with each other, in groups.
    """
    parts, why_not = parts_from(before, after)
    if not parts:
        return Restoration(why_not=why_not)
    if not batches:
        return Restoration(why_not="the teacher reads or writes other tokens, so no answers can be compared")
    single_modules = all(len(part.modules) == 1 for part in parts)
    parts = joined(parts, together)
    began = time.monotonic()
    title = "looking for what did it"
    variants: list[tuple[Part, ...]] = [(), *((part,) for part in parts)]
    ranking = shift_of(after, variants, batches, reference, task, seconds=RANKING * seconds, title=title)
    examples = ranking.divergence.shape[1]
    batches, reference, rows = batches[:examples], reference[:examples], rows[:examples]
    undone = shift_of(before, [()], batches, reference, task).divergence[0]
    found = Restoration(examples=examples, divergence_before=float(undone.mean()), divergence=float(ranking.mean[0]))
    if not ranking.mean[0] > undone.mean() * (1 + 1e-6):
        return replace(found, why_not="on the sample it answers no further from the teacher than the model before it")
    shares = (ranking.mean[0] - ranking.mean[1:]) / (ranking.mean[0] - undone.mean())
    values = _values(ranking, rows, task, config)
    order = [int(i) for i in np.argsort(-shares, kind="stable")]
    found = replace(
        found,
        restored=tuple(Restored(parts[i].name, float(shares[i]), float(values[i + 1] - values[0])) for i in order),
    )
    if not single_modules:
        return found
    work = _shares_of_work(before, parts, batches, task)
    worth = [parts[i] for i in sorted(order, key=lambda i: work[i] - shares[i]) if shares[i] > work[i]]
    costs = dict(zip((part.name for part in parts), work, strict=True))
    left = max(0.0, seconds - (time.monotonic() - began))
    return _together(found, after, worth, costs, batches, reference, task, undone, left) if worth else found


def _together(
    found: Restoration,
    after: PreTrainedModel,
    worth: Sequence[Part],
    costs: Mapping[str, float],
    batches: Sequence[Batch],
    reference: Sequence[Tensor],
    task: Task,
    undone: np.ndarray,
    seconds: float,
) -> Restoration:
    """With the first so many parts that the share of the divergence that they recover together exceeds their share of
    the work most."""
    counts = [count for count in COUNTS if count < len(worth)] + [len(worth)]
    variants = [(), *(tuple(worth[:count]) for count in counts)]
    shift = shift_of(after, variants, batches, reference, task, seconds=seconds)
    mean, examples = shift.mean, shift.divergence.shape[1]
    recovered = (mean[0] - mean[1:]) / max(float(mean[0] - undone[:examples].mean()), 1e-12)
    spent = [sum(costs[part.name] for part in worth[:count]) for count in counts]
    best = int(np.argmax(recovered - np.array(spent)))
    paths = tuple(path for part in worth[: counts[best]] for path in part.modules)
    return replace(found, worst=paths, recovered=float(recovered[best]), worst_share=spent[best])


def _shares_of_work(
    before: PreTrainedModel, parts: Sequence[Part], batches: Sequence[Batch], task: Task
) -> list[float]:
    """Each part's share of the multiply-adds of all of them, in the model before. Tables have none."""
    products = products_of(before, batches[:COUNTED], task)
    work = [sum(products.get(path, 0.0) for path in part.modules) for part in parts]
    return [value / max(sum(work), 1.0) for value in work]


def _values(shift: Shift, rows: Sequence[Mapping[str, Any]], task: Task, config: Any) -> list[float]:
    """Each variant's value of the metric on the sample."""
    metric = task.metric(config)
    return [metric.value(task.statistics([logits[0] for logits in answers], rows, config)) for answers in shift.logits]
