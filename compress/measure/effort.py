"""What the time of a piece of work goes with, recorded beside the time, so that later ones can be foreseen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from compress.core.recipe import Recipe

# Beyond that the two have too little in common.
FURTHEST = 1000.0


@dataclass(frozen=True, kw_only=True)
class Effort:
    """kind: the class that does it, or how it is evaluated. device, threads, machine: where. steps: optimizer steps, 0
    where nothing is trained. tokens: shown in one step, of one example where nothing is trained, of all that are
    judged in an evaluation. parameters: the teacher's."""

    kind: str
    machine: str
    device: str
    threads: int
    steps: int
    tokens: float
    parameters: int

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        work: str,
        *,
        examples: int,
        tokens: int,
        judged_tokens: int,
        parameters: int,
        machine: str,
    ) -> Effort:
        """That of a stage by name, of the `teacher`, or of an `evaluation` of either. examples, tokens: to learn from;
        judged_tokens: those of the validation split."""
        if work.startswith("evaluation"):
            kind, steps, shown = f"{work} on {recipe.runtime.label}: {recipe.measurement}", 0, float(judged_tokens)
        else:
            doer = recipe.teacher if work == "teacher" else recipe.stages[work]
            kind = f"{type(doer).__module__}.{type(doer).__qualname__}"
            training = doer.training(examples)
            steps = training.steps if training else 0
            shown = tokens / examples * (training.batch_size if training else 1)
        return cls(
            kind=kind,
            machine=machine,
            device=recipe.device,
            threads=recipe.runtime.threads,
            steps=steps,
            tokens=shown,
            parameters=parameters,
        )

    @property
    def amount(self) -> float:
        """Time is taken to be proportional to it."""
        return max(self.steps, 1) * self.tokens * self.parameters

    def resembles(self, other: Effort) -> bool:
        """Whether the two's times can be compared: the same work in the same place."""
        here = (self.kind, self.machine, self.device, self.threads)
        return here == (other.kind, other.machine, other.device, other.threads) and (self.steps > 0) == (
            other.steps > 0
        )


@dataclass(frozen=True)
class Estimate:
    """seconds: foreseen. times: as much work as that of the earlier piece whose seconds it is taken from."""

    seconds: float
    times: float


def estimate(effort: Effort, earlier: Iterable[tuple[Effort, float]]) -> Estimate | None:
    """From the earlier work (with its seconds) that is nearest in amount, in proportion; None where there is none."""
    known = [(effort.amount / other.amount, seconds) for other, seconds in earlier if effort.resembles(other)]
    near = [(times, seconds) for times, seconds in known if 1 / FURTHEST < times < FURTHEST]
    if not near:
        return None
    times, seconds = min(near, key=lambda one: abs(math.log(one[0])))
    return Estimate(seconds * times, times)
