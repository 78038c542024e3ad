"""A stage that missed its accuracy limit: what was measured of it, and from that what did it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from compress.core.blame import Blame
from compress.core.evaluation import Comparison, Evaluation
from compress.core.latency_table import LatencyTable
from compress.core.metric import Metric
from compress.core.recipe import Recipe
from compress.measure.slices import worst_slices
from compress.measure.statistics import compare
from compress.methods.training.sensitivity import Batch
from compress.pipeline.blame.advise import advise
from compress.pipeline.blame.restore import restore

SLICES_KEPT = 12


@dataclass(frozen=True)
class Case:
    """stage: its name in the recipe. teacher, before, after: evaluations of the teacher, of the model that the stage
    started from and of what it made of it. config: the teacher's."""

    recipe: Recipe
    stage: str
    teacher: Evaluation
    before: Evaluation
    after: Evaluation
    config: Any

    @property
    def metric(self) -> Metric:
        """What the models are judged by."""
        return self.recipe.task.metric(self.config)

    @property
    def limit(self) -> float:
        """What the lower end of the metric's interval has to reach."""
        return -self.recipe.gates[self.stage].max_accuracy_drop

    @property
    def speedups(self) -> tuple[float | None, float | None]:
        """Of the models before and after against the teacher; None where a busy machine kept it from being measured."""
        # The teacher itself was timed against plain PyTorch.
        earlier = 1.0 if self.before.artifact == self.teacher.artifact else self._against(self.before).speedup
        return earlier, self._against(self.after).speedup

    def identity(self) -> dict[str, Any]:
        """What `parts` depends on besides the three models and the examples, as plain values."""
        settings = self.recipe.settings
        return {
            "name": self.stage,
            "stage": settings["stages"][self.stage],
            "objective": asdict(self.recipe.objective),
            "seconds": self.recipe.blame_seconds,
            "speedups": self.speedups,
        }

    def parts(
        self,
        before: PreTrainedModel,
        after: PreTrainedModel,
        rows: Sequence[Mapping[str, Any]],
        batches: Sequence[Batch],
        reference: Sequence[Tensor],
        latency: Callable[[Any], LatencyTable],
    ) -> Blame:
        """Which parts did it, and what to try: see `restore` and `advise`."""
        recipe = self.recipe
        found = restore(
            before,
            after,
            task=recipe.task,
            rows=rows,
            batches=batches,
            reference=reference,
            seconds=recipe.blame_seconds,
            config=self.config,
            together=recipe.stages[self.stage].together(before),
        )
        return Blame(
            restored=found.restored,
            examples=found.examples,
            divergence_before=found.divergence_before,
            divergence=found.divergence,
            advice=advise(recipe, self.stage, before, after, found, self.speedups, latency),
            notes=(f"which layers did it was not measured: {found.why_not}",) if found.why_not else (),
        )

    def with_slices(self, blame: Blame, names: Mapping[str, Sequence[str]]) -> Blame:
        """Where the metric fell, by the `names` of each example's slices, and whether the stage alone did it."""
        slices = worst_slices(self.teacher, self.after, self.metric, names, self.recipe.gates[self.stage].confidence)
        notes = blame.notes
        earlier = self._against(self.before)
        low, high = earlier.score_interval
        if low <= self.limit:
            difference = f"{earlier.score_difference:+.4f} [{low:+.4f}, {high:+.4f}]"
            measured = f"{self.metric.title} {difference}, limit {self.limit:+.4f}"
            first = self.before.artifact == self.teacher.artifact
            told = (
                "so few examples cannot prove this limit even for the teacher against itself"
                if first
                else "the model before it does not pass this limit either"
            )
            notes = (*notes, f"{told}: {measured}")
        return replace(blame, slices=tuple(slices[:SLICES_KEPT]), compared=len(slices), notes=notes)

    def _against(self, evaluation: Evaluation) -> Comparison:
        gate = self.recipe.gates[self.stage]
        return compare(self.teacher, evaluation, self.metric, confidence=gate.confidence, margin=gate.max_accuracy_drop)
